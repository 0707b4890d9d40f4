"""Probes in SQL: each process replaces its own rows; what tables tell of the whole site is asked when somebody looks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, insert, select, text

from dicom_io.reasons import Outcome
from worker.db.queue import IS_OPEN
from worker.db.schema import Conflict, Result, Study, Task, Worker
from worker.db.schema import Probe as ProbeRow
from worker.db.sql import fitted
from worker.db.states import Level, StudyState, TaskState
from worker.db.types import now_ms, now_utc
from worker.db.workers import LOCAL_KIND

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

#: A process that has said nothing for so long does not speak for itself any more.
STALE_AFTER = timedelta(seconds=45)
FORGET_AFTER = timedelta(days=1)
#: A hint that was sent this often without being taken up was heard by nobody.
_UNHEARD = 2


class Probe(StrEnum):
    """What is looked at."""

    DATABASE = "DATABASE"
    BROKER = "BROKER"
    LISTENER = "LISTENER"
    LISTENER_PORT = "LISTENER_PORT"
    LOOPS = "LOOPS"
    MONITOR = "MONITOR"
    SPOOL = "SPOOL"
    QUARANTINE = "QUARANTINE"
    COMMITMENT = "COMMITMENT"
    SPOOL_DISK = "SPOOL_DISK"
    STORE_DISK = "STORE_DISK"
    FILMS_DISK = "FILMS_DISK"
    HOME_DISK = "HOME_DISK"
    CLOCK = "CLOCK"
    MODEL = "MODEL"
    WORKERS = "WORKERS"
    CONSUMPTION = "CONSUMPTION"
    OLDEST_WORK = "OLDEST_WORK"
    LEASES = "LEASES"
    FAILED = "FAILED"
    WITHHELD = "WITHHELD"
    CONFLICTS = "CONFLICTS"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found; the sentence says what is wrong and what to do, and is empty when all is well."""

    probe: Probe
    level: Level = Level.OK
    value: float | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and whose it is."""

    source: str
    probe: str
    level: Level
    value: float | None
    sentence: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What the tables tell of the whole site."""

    oldest_s: float
    waiting: int
    unheard: int
    live_workers: int
    idle_workers: int
    failed_24h: int
    failed_studies: int
    withheld_studies: int
    conflicts: int
    stale_leases: int


def record(session: Session, source: str, findings: Sequence[Finding]) -> None:
    """Replace what a process said before; of processes that are gone nothing stays for longer than a day."""
    forget(session, source)
    since = session.execute(select(now_utc())).scalar_one() - FORGET_AFTER
    session.execute(delete(ProbeRow).where(ProbeRow.at < since))
    for finding in findings:
        values = fitted(ProbeRow, {"source": source, "probe": finding.probe.value, "sentence": finding.sentence})
        session.execute(insert(ProbeRow).values(**values, level=finding.level, value=finding.value, at=now_utc()))


def forget(session: Session, source: str) -> None:
    """Take away what a process said: it has ended."""
    session.execute(delete(ProbeRow).where(ProbeRow.source == source))


def fresh(session: Session) -> list[Found]:
    """What processes that still speak say."""
    since = session.execute(select(now_utc())).scalar_one() - STALE_AFTER
    rows = session.execute(
        select(ProbeRow).where(ProbeRow.at >= since).order_by(ProbeRow.source, ProbeRow.probe)
    ).scalars()
    return [Found(row.source, row.probe, row.level, row.value, row.sentence, row.at) for row in rows]


def is_writable(session: Session) -> bool:
    """Whether the database takes what is written: a standby or a server set to read-only does not."""
    if session.get_bind().dialect.name == "sqlite":
        path = session.get_bind().engine.url.database or ""
        return os.access(path, os.W_OK)
    asked = text("SELECT NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::boolean")
    return bool(session.execute(asked).scalar_one())


def work(session: Session, live_within_ms: int) -> Work:
    """What the tables tell of work, failures and doubts."""
    moment, clock = session.execute(select(now_utc(), now_ms())).one()
    is_waiting = and_(IS_OPEN, Task.batch_id.is_(None), Task.state == TaskState.PENDING)
    oldest, waiting = session.execute(select(func.min(Task.created_at), func.count()).where(is_waiting)).one()
    unheard = select(func.count()).where(
        is_waiting, Task.not_before_ms <= clock, Task.hint_count >= _UNHEARD, Task.hinted_at_ms.is_not(None)
    )
    lives = and_(Worker.heartbeat_at >= moment - timedelta(milliseconds=live_within_ms), Worker.kind != LOCAL_KIND)
    live, idle = session.execute(select(func.count(), func.count().filter(Worker.task_id.is_(None))).where(lives)).one()
    failed = select(func.count()).where(
        Result.created_at >= moment - timedelta(days=1), Result.outcome == Outcome.FAILED, Result.is_current
    )
    conflicts = select(func.count()).select_from(Conflict).where(Conflict.closed_at.is_(None))
    stale = select(func.count()).where(IS_OPEN, Task.state == TaskState.CLAIMED, Task.lease_until_ms < clock)
    return Work(
        oldest_s=(moment - oldest).total_seconds() if waiting else 0.0,
        waiting=waiting,
        unheard=session.execute(unheard).scalar_one(),
        live_workers=live,
        idle_workers=idle,
        failed_24h=session.execute(failed).scalar_one(),
        failed_studies=_studies(session, StudyState.FAILED),
        withheld_studies=_studies(session, StudyState.WITHHELD),
        conflicts=session.execute(conflicts).scalar_one(),
        stale_leases=session.execute(stale).scalar_one(),
    )


def _studies(session: Session, state: StudyState) -> int:
    counted = select(func.count()).where(Study.state == state, Study.merged_into_id.is_(None))
    return session.execute(counted).scalar_one()
