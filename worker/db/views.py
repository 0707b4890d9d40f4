"""The public views: whole, versioned texts under migrations/views, one for both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.db.types import NOW_MS, NOW_UTC

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

#: Every public view; `auscult_reader` may read these and nothing else.
VIEW_NAMES = ("worklist", "result_history", "refused", "batch_progress", "queue_health")


def seconds_since(moment: str, dialect: str) -> str:
    """SQL for the whole seconds from a stored moment until now."""
    if dialect == "sqlite":
        return f"CAST((julianday('now') - julianday({moment})) * 86400 AS INTEGER)"
    return f"CAST(floor(extract(epoch FROM clock_timestamp() - {moment})) AS BIGINT)"


def render(text: str, dialect: str) -> str:
    """Replace the named places of a view's text: {now_ms}, {now_utc}, {seconds_since NAME}."""
    text = text.replace("{now_ms}", NOW_MS[dialect]).replace("{now_utc}", NOW_UTC[dialect])
    while "{seconds_since " in text:
        before, _, rest = text.partition("{seconds_since ")
        moment, _, after = rest.partition("}")
        text = before + seconds_since(moment, dialect) + after
    return text


def create_view(connection: Connection, folder: Path, name: str, version: int) -> None:
    """Create one view in one version from its file."""
    text = (folder / f"{name}_{version}.sql").read_text(encoding="utf-8")
    connection.exec_driver_sql(render(text, connection.dialect.name))


def drop_view(connection: Connection, name: str) -> None:
    """Drop one view; before a table it looks at is changed, on both databases."""
    connection.exec_driver_sql(f"DROP VIEW {name}")
