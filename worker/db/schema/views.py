"""The public views: their tables in the code, and their texts, which are files under migrations/views, one for both databases.

What a column means is said in `worker.db.contract`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Double, Integer, MetaData, SmallInteger, String, Table

from worker.db.contract.column import Kind
from worker.db.contract.views import VIEWS
from worker.db.schema.types import NOW_MS, CodeList, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

#: A row of a view, by column.
Row = dict[str, Any]

_TYPES: dict[Kind, type[TypeEngine[Any]]] = {
    Kind.TEXT: String,
    Kind.SMALLINT: SmallInteger,
    Kind.INTEGER: Integer,
    Kind.BIGINT: BigInteger,
    Kind.REAL: Double,
    Kind.BOOLEAN: Boolean,
    Kind.DATE: Date,
    Kind.MOMENT: UtcDateTime,
    Kind.CODES: CodeList,
    Kind.CODES_TEXT: CodeList,
}
# In other metadata than the tables, or Alembic would take the views for missing tables.
_views = MetaData()


def _view(name: str) -> Table:
    return Table(name, _views, *(Column(column.name, _TYPES[column.kind]()) for column in VIEWS[name].columns))


AGREEMENT = _view("agreement")
ASSESSMENTS = _view("assessments")
AUDIT = _view("audit")
AUDIT_OBJECTS = _view("audit_objects")
BATCH_PROGRESS = _view("batch_progress")
CHANGES = _view("changes")
CONFLICTS = _view("conflicts")
CORRECTIONS = _view("corrections")
DELIVERIES = _view("deliveries")
FILMS = _view("films")
HEALTH = _view("health")
MODEL_DAILY = _view("model_daily")
PURGES = _view("purges")
QUEUE_HEALTH = _view("queue_health")
REFUSED = _view("refused")
RESULT_HISTORY = _view("result_history")
RETENTION = _view("retention")
SHADOW_COMPARISON = _view("shadow_comparison")
WITHDRAWALS = _view("withdrawals")
WORKLIST = _view("worklist")
WORKLIST_NAMES = _view("worklist_names")
WORKLIST_V3 = _view("worklist_v3")

#: Every public view; `worker.db.schema.migrate.ROLES` says which role may read which.
VIEW_NAMES = tuple(sorted(_views.tables))


#: The time at which the statement began, unlike that of `types.NOW_MS`: PostgreSQL neither plans a view together with
#: the query around it nor uses an index where a clock could move on from row to row.
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "'now'"}
_NOW_MS = {
    "postgresql": "CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS BIGINT)",
    "sqlite": NOW_MS["sqlite"],
}
_DAY_AGO = {
    "postgresql": "statement_timestamp() - INTERVAL '24 hours'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-1 day')",
}


def seconds_since(moment: str, dialect: str) -> str:
    """SQL for the whole seconds from a stored moment until now."""
    return _seconds(moment, _NOW[dialect], dialect)


def _seconds(first: str, last: str, dialect: str) -> str:
    if dialect == "sqlite":
        # Of whole ms: a difference of days is a double that may lie a hair below the whole second.
        return f"CAST(round((julianday({last}) - julianday({first})) * 86400000) AS INTEGER) / 1000"
    return f"CAST(floor(extract(epoch FROM {last} - {first})) AS BIGINT)"


def _codes(text: str, dialect: str) -> str:
    return f"CAST({text} AS JSONB)" if dialect == "postgresql" else text


def _text(codes: str, dialect: str) -> str:
    """Codes as the text that they were before they had a type: `["A","B"]`."""
    return f"replace(CAST({codes} AS TEXT), '\", \"', '\",\"')" if dialect == "postgresql" else codes


def _day_of(moment: str, dialect: str) -> str:
    return f"CAST({moment} AT TIME ZONE 'UTC' AS DATE)" if dialect == "postgresql" else f"date({moment})"


def _ms_of(moment: str, dialect: str) -> str:
    """The milliseconds since 1970 of a stored moment."""
    if dialect == "sqlite":
        return f"CAST(round((julianday({moment}) - 2440587.5) * 86400000) AS INTEGER)"
    return f"CAST(floor(extract(epoch FROM {moment} - TIMESTAMPTZ '1970-01-01 00:00:00+00') * 1000) AS BIGINT)"


def _is_settled(change: str, dialect: str) -> str:
    """Whether no lower number of a change can come any more: every transaction that began before it has ended."""
    if dialect == "sqlite":
        return "TRUE"
    oldest = "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)"
    base = "(SELECT value FROM change_clock)"
    return f"{change} < {base} + {oldest}"


def _in_order(dialect: str) -> str:
    """Begin a part of a union that PostgreSQL reads in the order at its end; SQLite finds the order itself, and only then."""
    return "SELECT * FROM (" if dialect == "postgresql" else ""


def _order_end(order: str, dialect: str) -> str:
    return f"ORDER BY {order}) AS in_order" if dialect == "postgresql" else ""


#: What stands in braces in the text of a view, with what is written for it.
_PLACEHOLDERS: tuple[tuple[re.Pattern[str], Callable[..., str]], ...] = (
    (re.compile(r"\{now_ms\}"), lambda dialect: _NOW_MS[dialect]),
    (re.compile(r"\{day_ago\}"), lambda dialect: _DAY_AGO[dialect]),
    (re.compile(r"\{seconds_since (.+?)\}"), seconds_since),
    (re.compile(r"\{seconds (.+?) to (.+?)\}"), _seconds),
    (re.compile(r"\{codes (.+?)\}"), _codes),
    (re.compile(r"\{text (.+?)\}"), _text),
    (re.compile(r"\{day_of (.+?)\}"), _day_of),
    (re.compile(r"\{ms_of (.+?)\}"), _ms_of),
    (re.compile(r"\{is_settled (.+?)\}"), _is_settled),
    (re.compile(r"\{in_order\}"), _in_order),
    (re.compile(r"\{order_end (.+?)\}"), _order_end),
)


def render(text: str, dialect: str) -> str:
    """Replace what stands in braces in the text of a view: {now_ms}, {seconds_since MOMENT}, {codes TEXT} and others."""
    for pattern, write in _PLACEHOLDERS:
        text = pattern.sub(_written(write, dialect), text)
    return text


def _written(write: Callable[..., str], dialect: str) -> Callable[[re.Match[str]], str]:
    return lambda found: write(*found.groups(), dialect)


def create_view(connection: Connection, folder: Path, name: str, version: int) -> None:
    """Create one view in one version from its file."""
    text = (folder / f"{name}_{version}.sql").read_text(encoding="utf-8")
    connection.exec_driver_sql(render(text, connection.dialect.name))


def drop_view(connection: Connection, name: str) -> None:
    """Drop one view, as both databases require before a table it reads is changed."""
    connection.exec_driver_sql(f"DROP VIEW {name}")
