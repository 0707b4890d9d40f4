"""The rows of the view `worklist`; commands that print it load no table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import RowMapping, select

from model.labels import Label
from worker.db.read.reading_order import ORDER, Place, is_after
from worker.db.schema.sql import checked_values
from worker.db.schema.states import StudyState
from worker.db.schema.views import WORKLIST, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session


def worklist(
    session: Session,
    *,
    limit: int | None = None,
    states: Sequence[str] = (),
    labels: Sequence[str] = (),
    study_uids: Sequence[str] | None = None,
    after: Place | None = None,
) -> list[Row]:
    """The worklist in reading order, from behind a place on; raises `UsageError` for an unknown state or label."""
    statement = select(WORKLIST).order_by(*ORDER).limit(limit)
    for column, values in (
        (WORKLIST.c.ai_status, checked_values(states, StudyState)),
        (WORKLIST.c.label, checked_values(labels, Label)),
    ):
        if values:
            statement = statement.where(column.in_(values))
    if study_uids is not None:
        statement = statement.where(WORKLIST.c.study_uid.in_(study_uids))
    if after is not None:
        statement = statement.where(is_after(after))
    elif study_uids is None:
        # True of each row: SQLite, once a site has it analysed, would else read and sort all rows of a label or state.
        statement = statement.where(WORKLIST.c.priority_rank >= 0)
    return plain(session.execute(statement).mappings())


def plain(found: Iterable[RowMapping]) -> list[Row]:
    """The rows as dictionaries ready for JSON."""
    return [{name: list(value) if isinstance(value, tuple) else value for name, value in row.items()} for row in found]
