"""A database of revision 0001 with as many rows as a test or a measurement asks for, made by the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from sqlalchemy import text

from tests.support.migrations import ROWS_OF_0001, with_rows

if TYPE_CHECKING:
    from sqlalchemy import Engine

#: Rows of `study`, `image`, `task` and `result` for each study that is made.
PER_STUDY = 4
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :studies)"
_DAY = "'2026-01-01 00:00:00'"
_INSERTS = (
    (
        "study",
        (
            f"i, '1.2.' || i, 'P' || i, 'N^' || i, NULL, 'F', 'A' || i, NULL, '', {_DAY}, {_DAY}, {_DAY}, 1, 2, 1, 'FINAL', "
            f"'PNEUMONIA', 0.9, 0.6, NULL, '[]', 1, 1, 1, {_DAY}, 0"
        ),
    ),
    (
        "image",
        (
            "i, i, '1.2.3', '1.3.' || i, 'c', '1.2.840.10008.1.2.1', 'h' || i, 'DX', 'CHEST', 'AP', 36, 9, 9, '', 1, true, 1, "
            f"'PACS', '10.0.0.1', 'key' || i, NULL, NULL, NULL, 1, true, {_DAY}"
        ),
    ),
    (
        "task",
        f"i, 'SCORE', i, 1, NULL, 1, 'k' || i, 'DONE', 0, 1, 0, NULL, 1, NULL, NULL, 0, NULL, NULL, {_DAY}, {_DAY}",
    ),
    (
        "result",
        (
            "i, i, i, 1, NULL, 'OK', NULL, '[]', 0.9, 2.2, 0.5, 'PNEUMONIA', 'f', 1, 1.0, 1.0, 'litert', true, NULL, NULL, "
            f"{_DAY}"
        ),
    ),
)


def fill(engine: Engine, studies: int) -> None:
    """Upgrade an empty database to 0001 and add studies with one image, task and result each."""
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in ROWS_OF_0001[:2]:
            connection.execute(text(statement))
        for table, columns in _INSERTS:
            connection.execute(text(f"INSERT INTO {table} {_NUMBERS} SELECT {columns} FROM n"), {"studies": studies})


def sums(engine: Engine) -> dict[str, tuple[int, int]]:
    """The number of rows of each table, and the sum of their ids."""
    with engine.connect() as connection:
        return {
            table: tuple(connection.execute(text(f"SELECT count(*), coalesce(sum(id), 0) FROM {table}")).one())
            for table, _ in _INSERTS
        }
