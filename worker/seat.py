"""A working process: its own connections, its model, its heartbeat in SQL (steps 5 to 8 of the flow happen here)."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from typing import TYPE_CHECKING

from dicom_io.store import Store
from model.engine import Classifier, open_engine
from worker import pipeline
from worker.bootstrap import Database, bundle_of, connect, record_model
from worker.db import queries
from worker.errors import DatabaseUnavailable
from worker.films import FilmStore
from worker.pipeline import Bench, LeaseOptions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.reasons import Outcome
    from worker.settings import Settings

logger = logging.getLogger(__name__)


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


class WorkerSeat:
    """One working process: its bench, its row in ``worker`` and the heartbeat that keeps the row fresh."""

    def __init__(self, settings: Settings, database: Database, kind: str) -> None:
        self._settings = settings
        self._database = database
        self._kind = kind
        self._done = threading.Event()
        self._tasks_done = 0
        self._current: int | None = None
        host = socket.gethostname()
        self.name = f"{host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._classifiers = Classifiers(settings, database.sessions)
        self.bench = Bench(
            owner=self.name,
            sessions=database.sessions,
            store=Store(settings.store),
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
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Say in SQL that this worker lives, again and again."""
        self._thread.start()

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
        self._done.set()
        self._thread.join(self._settings.heartbeat_s)
        queries.sign_off(self._database.sessions, self.name)
        self._database.dispose()

    def _beat(self) -> None:
        while True:
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
            try:
                queries.heartbeat(self._database.sessions, row)
            except DatabaseUnavailable:
                logger.warning("heartbeat missed, the database is away", extra={"action": "away"})
            if self._done.wait(self._settings.heartbeat_s):
                return


def take_seat(settings: Settings, kind: str = "celery") -> WorkerSeat:
    """Open this process's own connections and start its heartbeat."""
    seat = WorkerSeat(settings, connect(settings), kind)
    seat.start()
    return seat
