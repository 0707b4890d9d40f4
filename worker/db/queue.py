"""Step 4 of the flow in SQL: which tasks to hint at, which to give up, which studies are complete.

Any number of dispatchers may run beside each other: every step is a conditional UPDATE under row locks.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, ColumnElement, and_, case, func, literal, or_, select, text, update

from dicom_io.reasons import Reason
from worker.db.answers import has_open_task, lock_study_of_image, recompute
from worker.db.results import Subject, failed_row, record
from worker.db.schema import Batch, Image, Study, Task
from worker.db.sql import is_claimable
from worker.db.states import BatchKind, StudyState, TaskState
from worker.db.types import now_ms, now_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

GRACE_MS = 30_000
GRACE_MAX_MS = 600_000
#: Doubling more often than this changes nothing: every grace is cut at its maximum long before.
_MAX_DOUBLINGS = 20
_BURY_LIMIT = 500
#: A batch is closed by the command that watches it; until then the same command would resume it.
FORGOTTEN_AFTER = timedelta(hours=1)


class Lane(Enum):
    """Where a task waits: live work goes before re-runs, and those before shadows."""

    LIVE = None
    RERUN = BatchKind.RERUN
    SHADOW = BatchKind.SHADOW


def due_tasks(
    session: Session, *, limit: int, grace_ms: int = GRACE_MS, grace_max_ms: int = GRACE_MAX_MS, lane: Lane
) -> list[int]:
    """Take the tasks to hint at now, in the order to be worked on, and note the hint.

    Due is a task that waits or whose lease has run out, and that no message has named within its grace: `grace_ms`
    after the first hint, doubling with each up to `grace_max_ms`.
    """
    due = (
        select(Task.id)
        .where(_is_open(lane), is_claimable(), ~_is_hinted(grace_ms, grace_max_ms))
        .order_by(Task.priority, Task.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = session.execute(
        update(Task)
        .where(Task.id.in_(select(due.c.id)))
        .values(
            hinted_at_ms=now_ms(),
            hint_count=case((Task.hint_count < _MAX_DOUBLINGS, Task.hint_count + 1), else_=Task.hint_count),
        )
        .returning(Task.priority, Task.id)
        .execution_options(synchronize_session=False)
    ).all()
    return [task_id for _, task_id in sorted((priority, task_id) for priority, task_id in rows)]


def outstanding_hints(
    session: Session, lane: Lane, *, grace_ms: int = GRACE_MS, grace_max_ms: int = GRACE_MAX_MS
) -> int:
    """Count tasks of a lane that a message has named within its grace and nobody has claimed yet."""
    statement = select(func.count()).where(
        _is_open(lane), Task.state == TaskState.PENDING, _is_hinted(grace_ms, grace_max_ms)
    )
    return session.execute(statement).scalar_one()


def _is_open(lane: Lane) -> ColumnElement[bool]:
    """SQL in the words of the partial indexes: neither database uses one for a condition with parameters."""
    is_open = text("task.state IN ('PENDING', 'CLAIMED')")
    if lane is Lane.LIVE:
        return and_(is_open, Task.batch_id.is_(None))
    of_kind = Task.batch_id.in_(select(Batch.id).where(Batch.kind == lane.value))
    return and_(is_open, Task.batch_id.is_not(None), of_kind)


def _is_hinted(grace_ms: int, grace_max_ms: int) -> ColumnElement[bool]:
    doubled = literal(grace_ms, BigInteger).bitwise_lshift(Task.hint_count - 1)
    grace = case((doubled < grace_max_ms, doubled), else_=grace_max_ms)
    return and_(Task.hinted_at_ms.is_not(None), Task.hinted_at_ms + grace > now_ms())


def bury_lost(session: Session, max_attempts: int) -> int:
    """End tasks whose attempts are used up and whose last one died, or was put back under a larger limit."""
    lost = or_(
        and_(Task.state == TaskState.CLAIMED, Task.lease_until_ms < now_ms()),
        Task.state == TaskState.PENDING,
    )
    found = session.execute(
        select(Task.id, Task.image_id)
        .join(Image, Image.id == Task.image_id)
        .where(text("task.state IN ('PENDING', 'CLAIMED')"), Task.attempts >= max_attempts, lost)
        .order_by(Image.study_id, Task.id)
        .limit(_BURY_LIMIT)
    ).all()
    return sum(
        _bury(session, task_id, image_id, and_(Task.attempts >= max_attempts, lost)) for task_id, image_id in found
    )


def _bury(session: Session, task_id: int, image_id: int, still_lost: ColumnElement[bool]) -> bool:
    study_id = lock_study_of_image(session, image_id).id
    before = session.execute(
        select(Task.state, Task.error_code, Task.image_id, Task.model_id, Task.batch_id, Batch.keep_current)
        .outerjoin(Batch, Batch.id == Task.batch_id)
        .where(Task.id == task_id)
    ).one()
    buried = session.execute(
        update(Task)
        .where(Task.id == task_id, still_lost)
        .values(state=TaskState.FAILED, lease_owner=None, lease_until_ms=None, finished_at=now_utc())
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if buried is None:
        return False
    code = Reason.WORKER_LOST if before.state is TaskState.CLAIMED else before.error_code
    subject = Subject(task_id, before.image_id, before.model_id, before.batch_id, bool(before.keep_current))
    record(session, subject, failed_row(code or Reason.WORKER_LOST))
    if not subject.keep_current:
        recompute(session, study_id)
    return True


def settle_studies(session: Session, limit: int) -> int:
    """Decide anew for open studies whose quiet or longest wait has passed; returns how many changed their state.

    A study with open work is visited once, when it stops receiving; after that the work's own end decides for it.
    Re-runs that ended an hour ago and whose command never came back to close them are closed as well.
    """
    _close_forgotten_batches(session)
    candidates = session.execute(
        select(Study.id, Study.state)
        .where(
            text("study.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"),
            Study.ready_at_ms <= now_ms(),
            or_(Study.state == StudyState.RECEIVING, ~_has_open_work()),
        )
        .order_by(Study.ready_at_ms)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True, of=Study)
    ).all()
    return sum(recompute(session, study_id).state is not state for study_id, state in candidates)


def _has_open_work() -> ColumnElement[bool]:
    return select(Image.id).where(Image.study_id == Study.id, Image.is_current, has_open_task()).exists()


def _close_forgotten_batches(session: Session) -> None:
    long_ago = session.execute(select(now_utc())).scalar_one() - FORGOTTEN_AFTER
    is_recent = or_(Task.finished_at.is_(None), Task.finished_at > long_ago)
    in_use = select(Task.id).where(Task.batch_id == Batch.id, is_recent).exists()
    session.execute(
        update(Batch)
        .where(Batch.kind == BatchKind.RERUN, Batch.closed_at.is_(None), Batch.created_at < long_ago, ~in_use)
        .values(closed_at=now_utc())
        .execution_options(synchronize_session=False)
    )
