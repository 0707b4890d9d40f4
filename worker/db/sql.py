"""Small helpers of the statements: inserts that tolerate a row that is there, texts cut to fit, long lists in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, String, and_, or_
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from worker.db.schema import Base
from worker.db.schema import Task
from worker.db.states import TaskState
from worker.db.types import now_ms

T = TypeVar("T")
_CHUNK = 500


def insert_unless_there(session: Session, table: type[Base], rows: Sequence[dict[str, Any]], *key: str) -> None:
    """Insert rows, leaving out those whose unique key (the columns named) is taken."""
    values = [fitted(table, row) for row in rows]
    if session.get_bind().dialect.name == "postgresql":
        session.execute(postgresql.insert(table).values(values).on_conflict_do_nothing(index_elements=key))
    else:
        session.execute(sqlite.insert(table).values(values).on_conflict_do_nothing(index_elements=key))


def fitted(table: type[Base], values: dict[str, Any]) -> dict[str, Any]:
    """Cut texts to their columns: a header's limits are wishes, PostgreSQL's are not."""
    columns = table.__table__.columns
    kept = dict(values)
    for name, value in values.items():
        kind = columns[name].type
        if isinstance(value, str) and isinstance(kind, String) and kind.length:
            kept[name] = value[: kind.length]
    return kept


def chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    """Cut a list so that no statement has more parameters than a database takes."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def is_claimable() -> ColumnElement[bool]:
    """SQL: the task waits and is due, or was claimed by a worker whose lease has run out."""
    return or_(
        and_(Task.state == TaskState.PENDING, Task.not_before_ms <= now_ms()),
        and_(Task.state == TaskState.CLAIMED, Task.lease_until_ms < now_ms()),
    )
