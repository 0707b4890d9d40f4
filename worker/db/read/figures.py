"""Figures of the whole site, read from its tables when somebody asks: open work, workers, failures and doubts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, and_, column, exists, func, select, table, text

from dicom_io.reasons import Outcome
from worker.db.schema.sql import IS_OPEN
from worker.db.schema.states import LOCAL_KIND, DeliveryState, StudyState, TaskState
from worker.db.schema.types import UtcDateTime, now_ms, now_utc

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

#: Where the counting of studies ends, as in the view `queue_health`: a count costs the same on a table of any size.
COUNTED = 10_000
#: Live work that has been due for so long is not heard of by a worker that is idle.
UNHEARD_AFTER = timedelta(seconds=30)

# By their names alone: to map all tables takes a fifth of the time of a command that shows a view.
_TASK = table(
    "task",
    *map(column, ("state", "batch_id", "not_before_ms", "lease_until_ms")),
    column("created_at", UtcDateTime),
)
_WORKER = table(
    "worker",
    *map(column, ("kind", "task_id")),
    *(column(name, UtcDateTime) for name in ("heartbeat_at", "started_at")),
)
_RESULT = table(
    "result",
    *map(column, ("outcome", "reason_code")),
    column("is_current", Boolean),
    column("created_at", UtcDateTime),
)
_STUDY = table("study", *map(column, ("id", "state")))
_SUSPENSION = table("suspension", column("ended_at"))
_CONFLICT = table("conflict", column("closed_at"))
_DELIVERY = table(
    "delivery",
    *map(column, ("destination_id", "study_id", "number", "state")),
    column("created_at", UtcDateTime),
)
_DESTINATION = table("destination", *map(column, ("id", "ended_at")))


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


def work(session: Session, live_within_ms: int) -> Work:
    """Read the figures of the whole site; `live_within_ms`: the largest age of a live worker's heartbeat."""
    moment, clock = session.execute(select(now_utc(), now_ms())).one()
    is_waiting = and_(IS_OPEN, _TASK.c.batch_id.is_(None), _TASK.c.state == TaskState.PENDING.value)
    oldest, waiting = session.execute(select(func.min(_TASK.c.created_at), func.count()).where(is_waiting)).one()
    unheard = select(func.count()).where(
        is_waiting,
        _TASK.c.created_at <= moment - UNHEARD_AFTER,
        _TASK.c.not_before_ms <= clock - round(UNHEARD_AFTER.total_seconds() * 1000),
    )
    lives = and_(
        _WORKER.c.heartbeat_at >= moment - timedelta(milliseconds=live_within_ms), _WORKER.c.kind != LOCAL_KIND
    )
    # A worker that has just been started has not asked for work yet.
    is_idle = and_(_WORKER.c.task_id.is_(None), _WORKER.c.started_at <= moment - UNHEARD_AFTER)
    live, idle = session.execute(select(func.count(), func.count().filter(is_idle)).where(lives)).one()
    failed = _failed(session, moment - timedelta(days=1))
    suspended = select(func.count()).select_from(_SUSPENSION).where(_SUSPENSION.c.ended_at.is_(None))
    conflicts = select(func.count()).select_from(_CONFLICT).where(_CONFLICT.c.closed_at.is_(None))
    stale = select(func.count()).where(
        IS_OPEN, _TASK.c.state == TaskState.CLAIMED.value, _TASK.c.lease_until_ms < clock
    )
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


_LATER = _DELIVERY.alias()
_GIVEN_UP = select(func.count()).where(
    text("delivery.state = 'FAILED'"),
    ~exists().where(
        _LATER.c.destination_id == _DELIVERY.c.destination_id,
        _LATER.c.study_id == _DELIVERY.c.study_id,
        _LATER.c.number > _DELIVERY.c.number,
    ),
    _DELIVERY.c.destination_id.in_(select(_DESTINATION.c.id).where(_DESTINATION.c.ended_at.is_(None))),
)
_UNSENT = select(func.min(_DELIVERY.c.created_at), func.count()).where(
    text("delivery.state IN ('PENDING', 'CLAIMED', 'UNCONFIRMED')"),
    _DELIVERY.c.state != DeliveryState.UNCONFIRMED.value,
)


def _failed(session: Session, since: datetime) -> tuple[tuple[str, int], ...]:
    """The reasons of films that failed since then and have no other result yet, the most frequent first."""
    count = func.count()
    rows = session.execute(
        select(_RESULT.c.reason_code, count)
        .where(_RESULT.c.created_at >= since, _RESULT.c.outcome == Outcome.FAILED.value, _RESULT.c.is_current)
        .group_by(_RESULT.c.reason_code)
        .order_by(count.desc(), _RESULT.c.reason_code)
    ).all()
    return tuple((str(reason or ""), number) for reason, number in rows)


def _studies(session: Session, state: StudyState) -> int:
    """How many studies failed or are withheld, up to `COUNTED`."""
    is_unanswered = text("study.state IN ('FAILED', 'WITHHELD') AND study.merged_into_id IS NULL")
    found = select(_STUDY.c.id).where(is_unanswered, _STUDY.c.state == state.value).limit(COUNTED).subquery()
    return session.execute(select(func.count()).select_from(found)).scalar_one()
