"""Helpers of the statements: inserts that tolerate existing rows, texts cut to fit, long lists in parts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import ClauseElement, ColumnElement, String, and_, or_, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from enum import StrEnum

    from sqlalchemy import Select, Table
    from sqlalchemy.orm import Session

    from worker.db.schema.types import Base
from worker.db.schema.states import TaskState
from worker.db.schema.types import now_ms
from worker.errors import UsageError

T = TypeVar("T")
_CHUNK = 500
#: SQL written as the partial indexes are: neither database uses one for a condition with parameters.
IS_OPEN = text("task.state IN ('PENDING', 'CLAIMED')")


def table_of(entity: type[Base]) -> Table:
    """The table of an entity: statements on it skip what the ORM adds to each execution."""
    return cast("Table", entity.__table__)


def insert_unless_there(
    session: Session, table: type[Base], rows: Sequence[dict[str, Any]], *key: str
) -> dict[Any, int]:
    """Insert rows except those whose unique key (the columns named) exists.

    Returns the ids of those inserted by the first column of the key.
    """
    values = [fitted(table, row) for row in rows]
    if not values:
        return {}
    statement = _insert_ignoring(session.get_bind().dialect.name, table, key)
    if not any(isinstance(value, ClauseElement) for value in values[0].values()):
        # The statement is the same each time, so that it is compiled once.
        found = session.execute(statement, values if len(values) > 1 else values[0])
    else:
        found = session.execute(statement.values(values))
    return {first: int(row_id) for first, row_id in found}


@functools.cache
def _insert_ignoring(dialect: str, entity: type[Base], key: tuple[str, ...]) -> Any:
    table = table_of(entity)
    return _ignoring(dialect, table, key).returning(table.c[key[0]], table.c.id)


def insert_from(session: Session, entity: type[Base], rows: Select[Any], key: str, returning: str) -> Sequence[Any]:
    """Insert the rows of a query, whose columns have the names of those of the table, except those whose unique key exists.

    Returns one column of the rows inserted.
    """
    table = table_of(entity)
    statement = _ignoring(session.get_bind().dialect.name, table, (key,)).from_select(
        list(rows.selected_columns.keys()), rows
    )
    return session.execute(statement.returning(table.c[returning])).scalars().all()


def _ignoring(dialect: str, table: Table, key: tuple[str, ...]) -> Any:
    """An INSERT that leaves out what exists by this key; the dialect of the other database is not loaded."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        statement: Any = postgresql.insert(table)
    else:
        from sqlalchemy.dialects import sqlite

        statement = sqlite.insert(table)
    return statement.on_conflict_do_nothing(index_elements=key)


def fitted(table: type[Base], values: dict[str, Any]) -> dict[str, Any]:
    """Cut texts to the lengths of their columns: headers exceed their limits, and PostgreSQL refuses longer texts."""
    columns = table.__table__.columns
    kept = dict(values)
    for name, value in values.items():
        kind = columns[name].type
        if isinstance(value, str) and isinstance(kind, String) and kind.length:
            kept[name] = value[: kind.length]
    return kept


def chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    """Cut a list into parts, so that no statement has more parameters than a database accepts."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def checked_values(values: Iterable[str], enum: type[StrEnum]) -> list[str]:
    """The values, if all are members of an enum; raises `UsageError` that lists the members."""
    allowed = [member.value for member in enum]
    wrong = sorted(set(values) - set(allowed))
    if wrong:
        msg = f"unknown {enum.__name__}: {', '.join(wrong)}; give one of {', '.join(allowed)}"
        raise UsageError(msg)
    return list(values)


def is_claimable() -> ColumnElement[bool]:
    """SQL: whether a task waits and is due, or is held by a lease that has run out."""
    from worker.db.schema.study import Task  # what only reads views does not load the tables

    task = table_of(Task).c
    return or_(
        and_(task.state == TaskState.PENDING, task.not_before_ms <= now_ms()),
        and_(task.state == TaskState.CLAIMED, task.lease_until_ms < now_ms()),
    )
