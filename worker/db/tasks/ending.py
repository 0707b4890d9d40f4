"""The end of a batch: which of its tasks are open, and what its row says once none is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select

from worker.db.schema.sql import IS_OPEN
from worker.db.schema.states import TaskState
from worker.db.schema.study import Batch, Task
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from sqlalchemy import ScalarSelect, TextClause


def is_open_in(batch_id: Any) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """SQL: whether a task of this batch is open, as the index of the open tasks of batches has it."""
    return IS_OPEN, Task.batch_id.is_not(None), Task.batch_id == batch_id


def _count(state: TaskState) -> ScalarSelect[int]:
    tasks = select(func.count()).select_from(Task).where(Task.batch_id == Batch.id, Task.state == state)
    return tasks.correlate(Batch).scalar_subquery()


#: Values of the row of a batch that ends. Its tasks are counted this once, and not whenever somebody looks at it later.
CLOSED: dict[str, Any] = {
    "closed_at": now_utc(),
    "n_done": _count(TaskState.DONE),
    "n_failed": _count(TaskState.FAILED),
    "n_cancelled": _count(TaskState.CANCELLED),
}
