"""The statements that some work executes, and what the database reads for each."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

#: Lines of a plan that say which rows are read.
_READS = re.compile(r"Scan|SEARCH|SCAN|USE TEMP|Sort|Limit")


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed meanwhile, each with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def what_is_read(engine: Engine, statement: str, parameters: Any) -> list[str]:
    """The lines of a statement's plan that say what is read; none for a statement without tables."""
    if not re.match(r"\s*(SELECT|UPDATE|WITH|INSERT)", statement) or "FROM" not in statement.upper():
        return []
    is_sqlite = engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN (COSTS OFF) "
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
        connection.rollback()
    lines = [str(row[-1]) for row in rows]
    return [line.strip() for line in lines if _READS.search(line) and "Subquery Scan" not in line]
