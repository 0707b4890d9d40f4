"""A process that works on tasks: its connections, its models, its heartbeat in SQL (it runs steps 5 to 8 of the flow)."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from dicom_io.film.store import FilmStore
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from worker.allocator import drop_pages, give_back
from worker.auditing.processes import ProcessTrail
from worker.database import Database, connect
from worker.db.read.probes import Probe
from worker.db.schema.states import LOCAL_KIND
from worker.db.tasks.claims import Claimant
from worker.db.tasks.workers import ProcessRow, WorkerBeat, heartbeat, sign_off
from worker.health import checks
from worker.health.monitor import Monitor, seldom
from worker.judging.buffers import keep_buffers
from worker.judging.lanes import Lanes
from worker.judging.parent import NO_PARENT, Parent
from worker.judging.pipeline import WorkerContext
from worker.judging.software import software
from worker.judging.time_limit import within_time
from worker.loops import Loop
from worker.models.active import active_model, bundle_of, record_model
from worker.models.openable import answer_questions
from worker.presence import present
from worker.queue.departed import ReleaseOptions, release_departed
from worker.stores import is_store_known, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.orm import Session, sessionmaker

    from model.serving.bundle import Bundle
    from worker.db.read.probes import Finding
    from worker.settings import Settings


#: Every byte of a bundle is read to check it.
MODEL_EVERY_S = 600.0


#: Classifiers that a process keeps open, some 75 MB each: those of the active model, the shadow and two re-runs.
MOST_OPEN = 4


class Classifiers:
    """The classifiers of one process, each opened on first use, unless its parent has opened it for all its children.

    At most `MOST_OPEN` stay open; the one that was used longest ago is closed for another.
    """

    def __init__(self, settings: Settings, sessions: sessionmaker[Session], parent: Parent = NO_PARENT) -> None:
        self._settings = settings
        self._sessions = sessions
        self._parent = parent
        self._open: dict[str, Classifier] = {}
        #: The model that was opened last; empty before the first task.
        self.latest = ""

    def of(self, model: str) -> Classifier:
        """The classifier of a bundle; raises ModelError, or ModelMismatch when SQL knows it with other contents."""
        opened = self._open.pop(model, None)
        if opened is None:
            bundle = bundle_of(self._settings, model)
            record_model(self._sessions, bundle)
            while len(self._open) >= MOST_OPEN:
                del self._open[next(iter(self._open))]
            opened = self._parent.classifier_of(bundle) or self._opened(bundle)
            self.latest = model
        self._open[model] = opened
        return opened

    def _opened(self, bundle: Bundle) -> Classifier:
        opened = Classifier(bundle, open_engine(bundle, self._settings.engine))
        drop_pages(bundle.litert_path)
        return opened


class Heartbeat(Loop):
    """Says in SQL again and again that a worker lives; it goes on after a failure."""

    name = "heartbeat"

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        super().__init__(every_s)
        self._beat = beat

    def turn(self) -> bool:
        """One heartbeat."""
        self._beat()
        return False


class TaskWorker:
    """One process that works on tasks: its context, its row in ``worker`` and the heartbeat that keeps the row fresh."""

    def __init__(self, settings: Settings, database: Database, kind: str, parent: Parent = NO_PARENT) -> None:
        self._settings = settings
        self._database = database
        self._kind = kind
        self._parent = parent
        self._tasks_done = self._tasks_before = 0
        self._is_lean = True
        self._current: int | None = None
        #: The task that was begun last.
        self._latest: int | None = None
        #: Whether a task ended by an exception, SystemExit for one: then it may still be claimed.
        self._is_interrupted = False
        host = socket.gethostname()
        self.name = f"{host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._presence = present(settings.home, self.name, parent.key)
        self._classifiers = Classifiers(settings, database.sessions, parent)
        self.context = WorkerContext(
            claimant=Claimant(
                self.name,
                round(settings.lease_s * 1000),
                settings.max_attempts,
                ProcessRow(self.name, host, os.getpid(), software),
            ),
            sessions=database.sessions,
            store=store_of(settings, known=True),
            films=FilmStore(settings.films),
            classifier_of=self._classifiers.of,
            backoff_ms=round(settings.retry_backoff_s * 1000),
            engine=settings.engine,
            policies=settings.policies,
            film_memory_mb=settings.film_memory_mb,
            within_time=self._within_time,
            at_work=self._at_work,
        )
        self._lanes = Lanes(self.context)
        self._trail = ProcessTrail(settings, database.sessions, "auscult work")
        self.heartbeat = Heartbeat(self._beat, settings.heartbeat_s)
        self._monitor = Monitor("worker", database.sessions, self._checks(), [self.heartbeat])

    def start(self) -> None:
        """Start the heartbeat and, but for a command's own worker, the monitor."""
        self.heartbeat.start()
        if self._kind != LOCAL_KIND:
            self._monitor.start()

    def work(self) -> int:
        """Do what is due until nothing is, or half of a message's time is over; how many films were done."""
        return self._interruptible(lambda: self._lanes.work(self._settings.task_limit_s / 2))

    def work_on(self, task_ids: Sequence[int]) -> int:
        """Do these tasks as far as they fit into one take, if they are still to be done; how many of them were dealt with."""
        return self._interruptible(lambda: self._lanes.work_on(task_ids))

    def _interruptible(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except BaseException:
            self._is_interrupted = True
            raise

    def _at_work(self, task_id: int) -> None:
        """Note which task is in work, in SQL by the next heartbeat; 0 at its end."""
        if self._presence:
            self._presence.at(task_id)
        self._tasks_done += not task_id
        self._current = task_id or None
        self._latest = self._current or self._latest

    def stop(self) -> None:
        """Delete the row in ``worker``: a worker that ends in order does not count as a silent one."""
        self.heartbeat.stop(self._settings.heartbeat_s)
        self._monitor.stop(self._settings.heartbeat_s)
        self._monitor.sign_off()
        if self._presence and self._is_interrupted:
            self._presence.abandon()
        elif self._presence:
            self._presence.leave()
        sign_off(self._database.sessions, self.name)
        self._trail.note_stop()
        self._database.dispose()

    def _within_time(self) -> AbstractContextManager[None]:
        """The limit of one film; a command's own worker is ended from outside (`confined`)."""
        if self._kind == LOCAL_KIND:
            return nullcontext()
        descriptor = self._presence.descriptor if self._presence else None
        return within_time(self._settings.task_limit_s, descriptor)

    def _checks(self) -> list[Callable[[], Finding]]:
        """The probes of this worker."""
        settings, database = self._settings, self._database

        def open_model() -> Finding:
            name = active_model(settings, database) or settings.model
            return checks.model(lambda: record_model(database.sessions, bundle_of(settings, name)), name)

        def is_new() -> bool:
            # The listener makes them, which may start after this.
            return not is_store_known(settings, database)

        return [
            lambda: checks.disk(Probe.STORE_DISK, settings.store, is_new=is_new),
            lambda: checks.disk(Probe.FILMS_DISK, settings.films, is_new=is_new),
            seldom(open_model, MODEL_EVERY_S),
        ]

    def _beat(self) -> None:
        row = WorkerBeat(
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            kind=self._kind,
            model=self._classifiers.latest,
            engine=self._settings.engine,
            # Between two films it works: `status` would call it idle while films wait.
            task_id=None if self._is_idle else self._latest,
            tasks_done=self._tasks_done,
        )
        heartbeat(self._database.sessions, row)
        if self._kind != LOCAL_KIND:
            self._trail.note_start()
        self._give_back_when_idle()
        release_departed(self._database.sessions, ReleaseOptions.of(self._settings), self._parent.key)
        self._answer()

    def _give_back_when_idle(self) -> None:
        """Give the buffers of the last films back where none was begun since the heartbeat before; the next may need them."""
        is_idle = self._is_idle
        if is_idle and not self._is_lean:
            give_back()
        self._is_lean, self._tasks_before = is_idle, self._tasks_done

    @property
    def _is_idle(self) -> bool:
        """Whether no film is in work and none was since the heartbeat before."""
        return self._current is None and self._tasks_done == self._tasks_before

    def _answer(self) -> None:
        """Answer which bundles can be opened; where the store is away the question stays unanswered."""
        with suppress(OSError):
            answer_questions(self._settings, self.name)


def start_worker(settings: Settings, kind: str = "celery", parent: Parent = NO_PARENT) -> TaskWorker:
    """Open this process's own connections and start the heartbeat.

    ``kind`` is shown in the table of workers; ``parent`` is the process that started it.
    """
    keep_buffers()
    worker = TaskWorker(settings, connect(settings), kind, parent)
    worker.start()
    return worker
