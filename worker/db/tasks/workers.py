"""The worker processes: one row for each, kept by its heartbeat."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, update

from worker.db.schema.engine import in_transaction
from worker.db.schema.site import WorkerProcess
from worker.db.schema.sql import fitted, insert_unless_there, table_of
from worker.db.schema.states import LOCAL_KIND
from worker.db.schema.study import Task, Worker
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker

#: The row of a silent worker is deleted after this time.
FORGET_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """What a worker writes of itself with each heartbeat."""

    name: str
    host: str
    pid: int
    kind: str
    model: str
    engine: str
    task_id: int | None
    tasks_done: int


@dataclass(frozen=True, slots=True)
class Software:
    """The versions of Auscult, Python and libraries that a process runs; None for a library that it lacks."""

    auscult: str
    python: str
    libraries: dict[str, str | None]


class ProcessRow:
    """The row of this process in `worker_process`, which the first transaction of `add` writes.

    `name` is that under which it claims tasks; `software` is asked once, when the row is written.
    """

    def __init__(self, name: str, host: str, pid: int, software: Callable[[], Software]) -> None:
        self._named = {"name": name, "host": host, "pid": pid}
        self._software = software
        self._is_there = False

    def add(self, session: Session) -> None:
        """Add the row in this transaction, unless it is there."""
        if self._is_there:
            return
        found = self._software()
        versions = {"auscult": found.auscult, "python": found.python, "libraries": json.dumps(found.libraries)}
        insert_unless_there(session, WorkerProcess, [self._named | versions | {"began_at": now_utc()}], "name")

    def added(self) -> None:
        """Note that a transaction with the row has ended well."""
        self._is_there = True


# Built once: each worker executes it every few seconds, with the columns among its parameters.
_WORKER = table_of(Worker).c
_BEAT = (
    update(table_of(Worker))
    .where(_WORKER.name == bindparam("of_name"))
    .values(heartbeat_at=now_utc())
    .returning(_WORKER.id)
)


def heartbeat(sessions: sessionmaker[Session], beat: WorkerBeat) -> None:
    """Write that a worker is alive; the first heartbeat adds its row."""
    values = fitted(Worker, asdict(beat))

    def work(session: Session) -> None:
        if beat.task_id is not None:
            # The row refers to tasks; one whose study was erased meanwhile must not make the heartbeat fail.
            values["task_id"] = session.execute(select(Task.id).where(Task.id == beat.task_id)).scalar_one_or_none()
        known = session.execute(_BEAT, {"of_name": values["name"], **values}).scalar_one_or_none()
        if known is None:
            oldest = session.execute(select(now_utc())).scalar_one() - FORGET_AFTER
            session.execute(delete(Worker).where(Worker.heartbeat_at < oldest))
            now = {"started_at": now_utc(), "heartbeat_at": now_utc()}
            insert_unless_there(session, Worker, [values | now], "name")

    in_transaction(sessions, work, is_synced=False)


def sign_off(sessions: sessionmaker[Session], name: str) -> None:
    """Delete the row of a worker at its orderly end."""

    def work(session: Session) -> None:
        session.execute(delete(Worker).where(Worker.name == name))

    in_transaction(sessions, work)


# Built once: each turn of a dispatcher that finds work executes it.
_SEEN = select(_WORKER.name, _WORKER.heartbeat_at, now_utc()).where(_WORKER.kind != LOCAL_KIND)


def live_workers(session: Session, within_ms: int) -> int:
    """Count the workers that take hints and whose last heartbeat is younger than `within_ms`.

    A command that works on its own tasks (`LOCAL_KIND`) takes none, and must not wait for itself.
    """
    return len(live_names(session, within_ms))


def live_names(session: Session, within_ms: int) -> set[str]:
    """The names of the workers that `live_workers` counts."""
    age = timedelta(milliseconds=within_ms)
    return {name for name, heartbeat_at, now in session.execute(_SEEN) if heartbeat_at >= now - age}
