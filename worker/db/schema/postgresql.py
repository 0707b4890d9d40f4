"""Connections to PostgreSQL: the only module that loads its driver, and not loaded where SQLite is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import URL, Engine, create_engine, event

from worker.errors import UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

POSTGRES_MINIMUM = 15
CONNECT_TIMEOUT_S = 5
_POSTGRES_SETTINGS = {
    "timezone": "UTC",
    "lock_timeout": "30s",
    "statement_timeout": "300s",
    "idle_in_transaction_session_timeout": "120s",
    # Each statement reads few rows: to start other processes, or to compile it, would take longer than it takes.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
#: A spool entry is removed once its rows are committed: a commit must not be lost by a crash of the server, which
#: `synchronous_commit = off` of a server, database or account allows. Stricter settings are left.
_DURABLE = (
    "set_config('synchronous_commit', "
    "CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
)
_SET_LOCAL = "SELECT " + ", ".join(
    (*(f"set_config('{name}', '{value}', true)" for name, value in _POSTGRES_SETTINGS.items()), _DURABLE)
)


def postgres_engine(url: URL) -> Engine:
    """Make an engine for PostgreSQL; it does not connect."""
    options: dict[str, str | None] = {
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "application_name": "auscult",
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }
    missing = {name: value for name, value in options.items() if name not in url.query}
    # A prepared statement belongs to a session, and behind a pooler each transaction may get another session. The
    # encoding is fixed here, because that of a role or of PGCLIENTENCODING may not hold every name.
    engine = create_engine(
        url,
        connect_args={**missing, "client_encoding": "utf8", "prepare_threshold": None},
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_size=5,
        max_overflow=10,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _check_postgres)
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _check_postgres(connection: psycopg.Connection[Any], _entry: ConnectionPoolEntry) -> None:
    version = connection.info.server_version // 10_000
    if version < POSTGRES_MINIMUM:
        msg = f"PostgreSQL {version} is too old: Auscult needs PostgreSQL {POSTGRES_MINIMUM} or later"
        raise UnsupportedDatabase(msg)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        msg = (
            f"the PostgreSQL database {connection.info.dbname} has the encoding {encoding}, which cannot hold every "
            "name: create it with ENCODING 'UTF8' TEMPLATE template0"
        )
        raise UnsupportedDatabase(msg)


def _begin_postgres(connection: Connection) -> None:
    """Set what a transaction needs for that transaction alone, because a pooler (pgbouncer) shares sessions."""
    connection.exec_driver_sql(_SET_LOCAL)


def leave_out_values(context: ExceptionContext) -> None:
    """Remove PostgreSQL's DETAIL from an error: it quotes the failing row, which holds patient data."""
    error = context.original_exception
    if not isinstance(error, psycopg.Error):
        return
    kept = None if isinstance(error, psycopg.DataError) else error.diag.message_primary
    error.args = (kept or f"SQLSTATE {error.sqlstate}",)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {error.args[0]}",)


_REFUSED = "refuses the user or the password; check AUSCULT_DATABASE_URL"
_MISSING = "does not exist; create it, then run 'auscult migrate'"
_EXHAUSTED = "is out of resources (disk, memory or connections)"
_AWAY = "does not answer; check that it runs and that AUSCULT_DATABASE_URL is right"
_READ_ONLY = "may not be written now: it is a standby, or read-only by its settings"
_CUT = "has ended the session, which was idle for too long"
_INTERNAL = "reports an error of its own or of its disk; see its log"
#: States (PostgreSQL, Appendix A) that concern the server and not a statement, whatever their class in the driver:
#: read-only, idle sessions ended, connections, resources, the operator, the system, internal errors.
_OF_THE_SERVER = ("25006", "25P03", "25P04", "08", "53", "57", "58", "F0", "XX")
_TRANSACTION_ROLLBACK = "40"
_STATE_REASONS = {
    "25006": _READ_ONLY,
    "25P03": _CUT,
    "25P04": _CUT,
    "57P05": _CUT,
    "55P03": "is too busy: a statement waited too long",
    "57014": "is too busy: a statement waited too long",
}
#: A refused connection has a text and no code. These pieces are looked for in the text, which is never shown.
_CONNECT_REASONS = (
    (("authentication failed", "no pg_hba.conf entry", 'role "', "no password supplied"), _REFUSED),
    (('database "',), _MISSING),
    (("too many clients", "connection slots"), _EXHAUSTED),
)


def unavailable(error: BaseException | None) -> str | None:
    """The reason why the database cannot answer; None for an error of another kind."""
    if isinstance(error, psycopg.Error) and error.sqlstate and error.sqlstate.startswith(_OF_THE_SERVER):
        return _postgres_reason(error)
    # What the server rolled back is run again.
    is_rollback = (getattr(error, "sqlstate", None) or "").startswith(_TRANSACTION_ROLLBACK)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not is_rollback:
        return _postgres_reason(error)
    return None


def _postgres_reason(error: psycopg.Error) -> str:
    state = error.sqlstate
    if state is None:
        message = str(error)
        return next((reason for pieces, reason in _CONNECT_REASONS if any(piece in message for piece in pieces)), _AWAY)
    if state in _STATE_REASONS:
        return _STATE_REASONS[state]
    by_class = {"53": _EXHAUSTED, "58": _INTERNAL, "F0": _INTERNAL, "XX": _INTERNAL}
    return by_class.get(state[:2], _AWAY)
