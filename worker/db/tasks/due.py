"""Which tasks wait to be claimed, by lane: the conditions in SQL, written as the partial indexes have them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, bindparam, func, select

from worker.db.schema.sql import IS_OPEN, is_claimable, table_of
from worker.db.schema.states import BatchKind
from worker.db.schema.study import Batch, Task

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Lane(Enum):
    """The lane in which a task waits: live work before re-runs, re-runs before the shadow."""

    LIVE = None
    RERUN = BatchKind.RERUN
    SHADOW = BatchKind.SHADOW


def is_due(lane: Lane) -> ColumnElement[bool]:
    """SQL: whether a task of a lane waits and may be claimed, or is held by a lease that has run out."""
    batch_id, batch = table_of(Task).c.batch_id, table_of(Batch).c
    if lane is Lane.LIVE:
        return and_(IS_OPEN, batch_id.is_(None), is_claimable())
    of_kind = batch_id.in_(select(batch.id).where(batch.kind == lane.value))
    return and_(IS_OPEN, batch_id.is_not(None), of_kind, is_claimable())


# Of the table's columns: those of the entity make the ORM look through the whole statement at each execution.
_ID = table_of(Task).c.id
_DUE = select(_ID).where(IS_OPEN, is_claimable()).limit(bindparam("most"))
_COUNT = select(func.count()).select_from(_DUE.subquery())
_BY_LANE = select(
    *(
        select(func.count())
        .select_from(select(_ID).where(is_due(lane)).limit(bindparam("most")).subquery())
        .scalar_subquery()
        for lane in Lane
    )
)
_IS_LIVE_DUE = select(_ID).where(is_due(Lane.LIVE)).limit(1)


def count_due(session: Session, most: int) -> int:
    """How many tasks of all lanes may be claimed now, counted up to `most`."""
    return session.execute(_COUNT, {"most": most}).scalar_one()


def due_by_lane(session: Session, most: int) -> dict[Lane, int]:
    """How many tasks of each lane may be claimed now, each counted up to `most`."""
    return dict(zip(Lane, session.execute(_BY_LANE, {"most": most}).one(), strict=True))


def is_live_due(session: Session) -> bool:
    """Whether live work waits."""
    return session.execute(_IS_LIVE_DUE).first() is not None
