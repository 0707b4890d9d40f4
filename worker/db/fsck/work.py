"""Tasks that are open though their result is on record, re-runs that are open for nothing, and listeners long gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, or_, select, update

from dicom_io.reasons import Outcome
from worker.db.answers.listeners import listeners
from worker.db.answers.recompute import lock_study_of_image, recompute
from worker.db.answers.silence import SILENT
from worker.db.schema.states import OPEN_TASK_STATES, BatchKind, TaskState
from worker.db.schema.study import Batch, Result, Task
from worker.db.schema.types import now_utc
from worker.db.tasks.ending import CLOSED
from worker.db.tasks.queue import FORGOTTEN_AFTER

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: A re-run with open tasks that nobody has finished by then is a finding.
LONG_OPEN = timedelta(days=30)
#: A listener that has been silent for longer is a finding.
LONG_SILENT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WorkedTask:
    """An open task whose result is on record: a worker that claimed it could not add another one."""

    task_id: int
    image_id: int


def worked(session: Session, after_id: int, limit: int) -> list[WorkedTask]:
    """The next open tasks that have their result, in the order of their numbers."""
    rows = session.execute(
        select(Task.id, Task.image_id)
        .join(Result, Result.task_id == Task.id)
        .where(Task.id > after_id, Task.state.in_(OPEN_TASK_STATES))
        .order_by(Task.id)
        .limit(limit)
    ).all()
    return [WorkedTask(*row) for row in rows]


def end_task(session: Session, task_id: int, image_id: int) -> bool:
    """End an open task as its result says, and decide the study again; False where it has ended by now."""
    study = lock_study_of_image(session, image_id)
    result = session.execute(select(Result.outcome, Result.created_at).where(Result.task_id == task_id)).one_or_none()
    if result is None:
        return False
    state = TaskState.FAILED if result.outcome == Outcome.FAILED else TaskState.DONE
    ended = session.execute(
        update(Task)
        .where(Task.id == task_id, Task.state.in_(OPEN_TASK_STATES))
        .values(state=state, lease_owner=None, lease_until_ms=None, finished_at=result.created_at)
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    recompute(session, study.id)
    return ended is not None


def forgotten_batches(session: Session) -> list[int]:
    """Re-runs that are open without an open task, for longer than a dispatcher leaves them so."""
    return list(session.scalars(select(Batch.id).where(_is_forgotten(session)).order_by(Batch.id)))


def close_batch(session: Session, batch_id: int) -> bool:
    """Close a re-run without open tasks; False where it was closed, or has open tasks, by now."""
    closed = session.execute(
        update(Batch)
        .where(Batch.id == batch_id, _is_forgotten(session))
        .values(CLOSED)
        .returning(Batch.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return closed is not None


def long_open_batches(session: Session) -> list[int]:
    """Re-runs with open tasks that were ordered long ago."""
    before = session.execute(select(now_utc())).scalar_one() - LONG_OPEN
    old = select(Batch.id).where(_is_open_rerun(), Batch.created_at < before, _has_open_task())
    return list(session.scalars(old.order_by(Batch.id)))


def long_silent_listeners(session: Session) -> list[int]:
    """Listeners that are neither closed nor retired and have been silent for long: they hold back NORMAL."""
    before = session.execute(select(now_utc())).scalar_one() - LONG_SILENT
    return [row.listener for row in listeners(session) if row.state == SILENT and row.heartbeat_at < before]


def _is_open_rerun() -> ColumnElement[bool]:
    return (Batch.kind == BatchKind.RERUN) & Batch.closed_at.is_(None)


def _has_open_task() -> ColumnElement[bool]:
    open_task = select(Task.id).where(Task.batch_id == Batch.id, Task.state.in_(OPEN_TASK_STATES))
    return open_task.correlate(Batch).exists()


def _is_forgotten(session: Session) -> ColumnElement[bool]:
    before = session.execute(select(now_utc())).scalar_one() - FORGOTTEN_AFTER
    last = select(func.max(Task.finished_at)).where(Task.batch_id == Batch.id).correlate(Batch).scalar_subquery()
    is_old = or_(last < before, last.is_(None) & (Batch.created_at < before))
    return _is_open_rerun() & Batch.opening_after_id.is_(None) & is_old & ~_has_open_task()
