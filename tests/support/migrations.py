"""Migrations run step by step, on databases that hold rows of an earlier revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from worker.db.schema.migrate import _exclusive
from worker.db.schema.revision import scripts_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sqlalchemy import Engine

#: What 0001 may hold: an active model and another one, a re-run that flipped a film, a study with its answer.
ROWS_OF_0001 = (
    "INSERT INTO model VALUES (1, 'notebook', '1', 'w', 1, 'd', 0.5, 1, 5, 'active', '2026-01-01 00:00:00')",
    "INSERT INTO model VALUES (2, 'notebook', '2', 'w', 1, 'd', 0.6, 1, 5, 'available', '2026-01-02 00:00:00')",
    "INSERT INTO batch VALUES (1, 'ada', 'newer', '{}', 's', 2, false, '2026-01-03 00:00:00', NULL, 1)",
    (
        "INSERT INTO study VALUES (1, '1.2', 'P', 'N', NULL, 'F', 'A', NULL, '', '2026-01-01 00:00:00', "
        "'2026-01-01 00:00:00', '2026-01-01 00:00:00', 1, 2, 1, 'FINAL', 'PNEUMONIA', 0.9, 0.6, NULL, '[]', 2, 1, 1, "
        "'2026-01-01 00:00:00', 0)"
    ),
    (
        "INSERT INTO image VALUES (1, 1, '1.2.3', '1.2.3.4', 'c', 't', 'h', 'DX', 'CHEST', 'AP', 36, 9, 9, '', 1, true, 1, "
        "'PACS', 'host', 'key', NULL, NULL, NULL, 1, true, '2026-01-01 00:00:00')"
    ),
    *(
        f"INSERT INTO task VALUES ({number}, 'SCORE', 1, {number}, {batch}, 1, 'k{number}', 'DONE', 0, 1, 0, NULL, 1, "
        "NULL, NULL, 0, NULL, NULL, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
        for number, batch in ((1, "NULL"), (2, "1"))
    ),
    *(
        f"INSERT INTO result VALUES ({number}, {number}, 1, {number}, {batch}, 'OK', NULL, '[]', 0.9, 2.2, 0.{4 + number}, "
        f"'PNEUMONIA', 'f', 1, 1.0, 1.0, 'litert', {current}, {before}, {before}, '2026-01-01 00:00:00')"
        for number, batch, current, before in ((1, "NULL", "false", "NULL"), (2, "1", "true", "1"))
    ),
)
TABLES = ("model", "batch", "study", "image", "task", "result")


def config() -> Config:
    found = Config()
    found.set_main_option("script_location", str(scripts_folder()))
    return found


def head() -> str:
    revision = ScriptDirectory.from_config(config()).get_current_head()
    assert revision is not None
    return revision


def with_rows(engine: Engine, direction: Callable[[Config, str], None], revision: str) -> None:
    """A step on a database that holds rows, as `auscult migrate` makes it."""
    with _exclusive(engine) as connection:
        settings = config()
        settings.attributes["connection"] = connection
        direction(settings, revision)


def held(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    with engine.connect() as connection:
        return {
            table: [dict(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY id")).mappings()]
            for table in TABLES
        }


def rows_of(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def fill_0001(engine: Engine) -> None:
    """Upgrade an empty database to 0001 and add `ROWS_OF_0001`."""
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in ROWS_OF_0001:
            connection.execute(text(statement))
