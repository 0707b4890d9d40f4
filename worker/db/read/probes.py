"""Probes in SQL: each process replaces its own rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import column, delete, insert, select, table, text

from worker.db.schema.sql import fitted
from worker.db.schema.states import Level
from worker.db.schema.types import UtcDateTime, now_utc
from worker.db.schema.views import QUEUE_HEALTH, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

#: Findings that are older than this are not shown: their process may be gone.
STALE_AFTER = timedelta(seconds=45)
FORGET_AFTER = timedelta(days=1)
# By its name alone: to map all tables takes a fifth of the time of a command that shows a view.
_PROBE = table("probe", *map(column, ("source", "probe", "level", "value", "sentence")), column("at", UtcDateTime))


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


def record(session: Session, source: str, findings: Sequence[Finding]) -> None:
    """Replace the findings of a process; those of processes that are gone are deleted after a day."""
    from worker.db.schema.study import ProbeReading  # `status`, which only reads, maps no table

    forget(session, source)
    since = session.execute(select(now_utc())).scalar_one() - FORGET_AFTER
    session.execute(delete(ProbeReading).where(ProbeReading.at < since))
    for finding in findings:
        values = fitted(ProbeReading, {"source": source, "probe": finding.probe.value, "sentence": finding.sentence})
        session.execute(insert(ProbeReading).values(**values, level=finding.level, value=finding.value, at=now_utc()))


def forget(session: Session, source: str) -> None:
    """Delete the findings of a process, because it has ended."""
    session.execute(delete(_PROBE).where(_PROBE.c.source == source))


def fresh(session: Session) -> list[ReportedFinding]:
    """The findings of all processes that are not stale."""
    since = session.execute(select(now_utc())).scalar_one() - STALE_AFTER
    rows = session.execute(select(_PROBE).where(_PROBE.c.at >= since).order_by(_PROBE.c.source, _PROBE.c.probe))
    return [ReportedFinding(row.source, row.probe, Level(row.level), row.value, row.sentence, row.at) for row in rows]


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
