"""Probes in SQL: each process replaces its own rows; figures of the whole site are read from the tables on demand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, exists, func, insert, select, text
from sqlalchemy.orm import aliased

from dicom_io.reasons import Outcome
from worker.db.schema.sql import IS_OPEN, fitted
from worker.db.schema.states import DeliveryState, Level, StudyState, TaskState
from worker.db.schema.study import (
    Conflict,
    Delivery,
    Destination,
    ProbeReading,
    Result,
    Study,
    Suspension,
    Task,
    Worker,
)
from worker.db.schema.types import now_ms, now_utc
from worker.db.schema.views import QUEUE_HEALTH, Row
from worker.db.tasks.workers import LOCAL_KIND

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

#: Findings that are older than this are not shown: their process may be gone.
STALE_AFTER = timedelta(seconds=45)
FORGET_AFTER = timedelta(days=1)
#: Where the counting of studies ends, as in the view `queue_health`: a count costs the same on a table of any size.
COUNTED = 10_000
#: Live work that has been due for so long is not heard of by a worker that is idle.
UNHEARD_AFTER = timedelta(seconds=30)


class Probe(StrEnum):
    """What is checked; the column `probe` of the view `health`."""

    DATABASE = "DATABASE"
    BROKER = "BROKER"
    LISTENER = "LISTENER"
    LISTENER_PORT = "LISTENER_PORT"
    LOOPS = "LOOPS"
    MONITOR = "MONITOR"
    SPOOL = "SPOOL"
    QUARANTINE = "QUARANTINE"
    COMMITMENT = "COMMITMENT"
    RETENTION = "RETENTION"
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
    SUSPENDED = "SUSPENDED"
    DRIFT = "DRIFT"
    CONFLICTS = "CONFLICTS"
    DELIVERY = "DELIVERY"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found; the sentence says what is wrong and what to do, and is empty at level OK."""

    probe: Probe
    level: Level = Level.OK
    value: float | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class ReportedFinding:
    """A finding, the process that reported it and when."""

    source: str
    probe: str
    level: Level
    value: float | None
    sentence: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Figures of the whole site: open live tasks, workers, failures and doubts; ages in seconds."""

    oldest_s: float
    waiting: int
    unheard: int
    live_workers: int
    #: Without a film for a whole heartbeat, and running for as long as work that counts as unheard has been due.
    idle_workers: int
    failed_24h: int
    failed_studies: int
    withheld_studies: int
    conflicts: int
    stale_leases: int
    suspended_models: int
    #: Reasons of the films that failed within 24 hours with how many there are, the most frequent first.
    failed_reasons: tuple[tuple[str, int], ...] = ()
    #: Deliveries that were given up and say what holds; those that no destination has taken yet, and the oldest one's age.
    failed_deliveries: int = 0
    waiting_deliveries: int = 0
    delivery_oldest_s: float = 0.0


def record(session: Session, source: str, findings: Sequence[Finding]) -> None:
    """Replace the findings of a process; those of processes that are gone are deleted after a day."""
    forget(session, source)
    since = session.execute(select(now_utc())).scalar_one() - FORGET_AFTER
    session.execute(delete(ProbeReading).where(ProbeReading.at < since))
    for finding in findings:
        values = fitted(ProbeReading, {"source": source, "probe": finding.probe.value, "sentence": finding.sentence})
        session.execute(insert(ProbeReading).values(**values, level=finding.level, value=finding.value, at=now_utc()))


def forget(session: Session, source: str) -> None:
    """Delete the findings of a process, because it has ended."""
    session.execute(delete(ProbeReading).where(ProbeReading.source == source))


def fresh(session: Session) -> list[ReportedFinding]:
    """The findings of all processes that are not stale."""
    since = session.execute(select(now_utc())).scalar_one() - STALE_AFTER
    rows = session.execute(
        select(ProbeReading).where(ProbeReading.at >= since).order_by(ProbeReading.source, ProbeReading.probe)
    ).scalars()
    return [ReportedFinding(row.source, row.probe, row.level, row.value, row.sentence, row.at) for row in rows]


def is_writable(session: Session) -> bool:
    """Whether the database can be written: a standby or a read-only server cannot."""
    if session.get_bind().dialect.name == "sqlite":
        path = session.get_bind().engine.url.database or ""
        return os.access(path, os.W_OK)
    asked = text("SELECT NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::boolean")
    return bool(session.execute(asked).scalar_one())


def queue_health(session: Session) -> Row:
    """The state of the queue: depth, age, stale leases, workers, failures."""
    return dict(session.execute(select(QUEUE_HEALTH)).mappings().one())


def work(session: Session, live_within_ms: int) -> Work:
    """Read the figures of the whole site; `live_within_ms`: the largest age of a live worker's heartbeat."""
    moment, clock = session.execute(select(now_utc(), now_ms())).one()
    is_waiting = and_(IS_OPEN, Task.batch_id.is_(None), Task.state == TaskState.PENDING)
    oldest, waiting = session.execute(select(func.min(Task.created_at), func.count()).where(is_waiting)).one()
    unheard = select(func.count()).where(
        is_waiting,
        Task.created_at <= moment - UNHEARD_AFTER,
        Task.not_before_ms <= clock - round(UNHEARD_AFTER.total_seconds() * 1000),
    )
    lives = and_(Worker.heartbeat_at >= moment - timedelta(milliseconds=live_within_ms), Worker.kind != LOCAL_KIND)
    # A worker that has just been started has not asked for work yet.
    is_idle = and_(Worker.task_id.is_(None), Worker.started_at <= moment - UNHEARD_AFTER)
    live, idle = session.execute(select(func.count(), func.count().filter(is_idle)).where(lives)).one()
    failed = _failed(session, moment - timedelta(days=1))
    suspended = select(func.count()).select_from(Suspension).where(Suspension.ended_at.is_(None))
    conflicts = select(func.count()).select_from(Conflict).where(Conflict.closed_at.is_(None))
    stale = select(func.count()).where(IS_OPEN, Task.state == TaskState.CLAIMED, Task.lease_until_ms < clock)
    sent_since, unsent = session.execute(_UNSENT).one()
    return Work(
        oldest_s=(moment - oldest).total_seconds() if waiting else 0.0,
        waiting=waiting,
        unheard=session.execute(unheard).scalar_one(),
        live_workers=live,
        idle_workers=idle,
        failed_24h=sum(count for _, count in failed),
        failed_reasons=failed,
        failed_studies=_studies(session, StudyState.FAILED),
        withheld_studies=_studies(session, StudyState.WITHHELD),
        suspended_models=session.execute(suspended).scalar_one(),
        conflicts=session.execute(conflicts).scalar_one(),
        stale_leases=session.execute(stale).scalar_one(),
        failed_deliveries=session.execute(_GIVEN_UP).scalar_one(),
        waiting_deliveries=unsent,
        delivery_oldest_s=(moment - sent_since).total_seconds() if unsent else 0.0,
    )


_LATER = aliased(Delivery)
_GIVEN_UP = select(func.count()).where(
    text("delivery.state = 'FAILED'"),
    ~exists().where(
        _LATER.destination_id == Delivery.destination_id,
        _LATER.study_id == Delivery.study_id,
        _LATER.number > Delivery.number,
    ),
    Delivery.destination_id.in_(select(Destination.id).where(Destination.ended_at.is_(None))),
)
_UNSENT = select(func.min(Delivery.created_at), func.count()).where(
    text("delivery.state IN ('PENDING', 'CLAIMED', 'UNCONFIRMED')"), Delivery.state != DeliveryState.UNCONFIRMED
)


def _failed(session: Session, since: datetime) -> tuple[tuple[str, int], ...]:
    """The reasons of films that failed since then and have no other result yet, the most frequent first."""
    count = func.count()
    rows = session.execute(
        select(Result.reason_code, count)
        .where(Result.created_at >= since, Result.outcome == Outcome.FAILED, Result.is_current)
        .group_by(Result.reason_code)
        .order_by(count.desc(), Result.reason_code)
    ).all()
    return tuple((str(reason or ""), number) for reason, number in rows)


def _studies(session: Session, state: StudyState) -> int:
    """How many studies failed or are withheld, up to `COUNTED`."""
    is_unanswered = text("study.state IN ('FAILED', 'WITHHELD') AND study.merged_into_id IS NULL")
    found = select(Study.id).where(is_unanswered, Study.state == state).limit(COUNTED).subquery()
    return session.execute(select(func.count()).select_from(found)).scalar_one()
