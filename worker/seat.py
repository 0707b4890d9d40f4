"""A working process: its own connections, its model, its heartbeat in SQL (steps 5 to 8 of the flow happen here)."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from model.engine import Classifier, open_engine
from worker import health, pipeline
from worker.bootstrap import Database, active_model, bundle_of, connect, record_model, store_of
from worker.db import queries
from worker.db.probes import Probe
from worker.db.workers import LOCAL_KIND
from worker.films import FilmStore
from worker.loops import Loop
from worker.monitor import Monitor, seldom
from worker.openable import answer_questions
from worker.pipeline import Bench, LeaseOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.reasons import Outcome
    from worker.db.probes import Finding
    from worker.settings import Settings


#: Every byte of a bundle is read to check it.
MODEL_EVERY_S = 600.0


class Classifiers:
    """Opens a model's classifier on first use: in the worker's child and never in its parent."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self._settings = settings
        self._sessions = sessions
        self._open: dict[str, Classifier] = {}
        #: The model that was opened last; empty before the first task.
        self.latest = ""

    def of(self, model: str) -> Classifier:
        """The classifier of a bundle; raises ModelError, or ModelMismatch when SQL knows it with other contents."""
        if model not in self._open:
            bundle = bundle_of(self._settings, model)
            record_model(self._sessions, bundle)
            self._open[model] = Classifier(bundle, open_engine(bundle, self._settings.engine))
            self.latest = model
        return self._open[model]


class Heartbeat(Loop):
    """Says in SQL that a worker lives, again and again; what keeps it from that once does not keep it for ever."""

    name = "heartbeat"

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        super().__init__(every_s)
        self._beat = beat

    def turn(self) -> bool:
        """One heartbeat."""
        self._beat()
        return False


class WorkerSeat:
    """One working process: its bench, its row in ``worker`` and the heartbeat that keeps the row fresh."""

    def __init__(self, settings: Settings, database: Database, kind: str) -> None:
        self._settings = settings
        self._database = database
        self._kind = kind
        self._tasks_done = 0
        self._current: int | None = None
        host = socket.gethostname()
        self.name = f"{host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._classifiers = Classifiers(settings, database.sessions)
        self.bench = Bench(
            owner=self.name,
            sessions=database.sessions,
            store=store_of(settings, known=True),
            films=FilmStore(settings.films),
            classifier_of=self._classifiers.of,
            lease=LeaseOptions(
                lease_ms=round(settings.lease_s * 1000),
                max_attempts=settings.max_attempts,
                backoff_ms=round(settings.retry_backoff_s * 1000),
            ),
            engine=settings.engine,
            policies=settings.policies,
            film_memory_mb=settings.film_memory_mb,
        )
        self.heartbeat = Heartbeat(self._beat, settings.heartbeat_s)
        self._monitor = Monitor("worker", database.sessions, self._checks(), [self.heartbeat])

    def start(self) -> None:
        """Say in SQL that this worker lives, again and again."""
        self.heartbeat.start()
        if self._kind != LOCAL_KIND:
            self._monitor.start()

    def score(self, task_id: int) -> Outcome | None:
        """Do one task, if it is still to be done."""
        self._current = task_id
        try:
            return pipeline.score_task(self.bench, task_id)
        finally:
            self._current = None
            self._tasks_done += 1

    def leave(self) -> None:
        """Take the row away: an orderly end is no silent worker."""
        self.heartbeat.stop(self._settings.heartbeat_s)
        self._monitor.stop(self._settings.heartbeat_s)
        self._monitor.sign_off()
        queries.sign_off(self._database.sessions, self.name)
        self._database.dispose()

    def _checks(self) -> list[Callable[[], Finding]]:
        """What this worker needs to keep its promises."""
        settings, database = self._settings, self._database

        def open_model() -> Finding:
            name = active_model(settings, database) or settings.model
            return health.model(lambda: record_model(database.sessions, bundle_of(settings, name)), name)

        return [
            lambda: health.disk(Probe.STORE_DISK, settings.store),
            lambda: health.disk(Probe.FILMS_DISK, settings.films),
            seldom(open_model, MODEL_EVERY_S),
        ]

    def _beat(self) -> None:
        row = queries.WorkerBeat(
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            kind=self._kind,
            model=self._classifiers.latest,
            engine=self._settings.engine,
            task_id=self._current,
            tasks_done=self._tasks_done,
        )
        queries.heartbeat(self._database.sessions, row)
        self._answer()

    def _answer(self) -> None:
        """A store that is away keeps nobody from working; whoever asked takes the silence as its answer."""
        with suppress(OSError):
            answer_questions(self._settings, self.name)


def take_seat(settings: Settings, kind: str = "celery") -> WorkerSeat:
    """Open this process's own connections and start its heartbeat."""
    seat = WorkerSeat(settings, connect(settings), kind)
    seat.start()
    return seat
