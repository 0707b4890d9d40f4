"""Connections: one engine per process, the same promises on SQLite and PostgreSQL, and errors without secrets.

Each error that means that the database cannot answer becomes `DatabaseUnavailable` with a sentence of ours, because
the drivers' texts can quote the address, the user or a value.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError, IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from worker.addresses import database_url, describe
from worker.errors import DatabaseUnavailable, UnsupportedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

T = TypeVar("T")

POSTGRES_MINIMUM = 15
SQLITE_MINIMUM = (3, 35, 0)
BUSY_TIMEOUT_MS = 30_000
CONNECT_TIMEOUT_S = 5
_WAL_TIMEOUT_S = 30.0
_POSTGRES_SETTINGS = {
    "timezone": "UTC",
    "lock_timeout": "30s",
    "statement_timeout": "300s",
    "idle_in_transaction_session_timeout": "120s",
}
_SET_LOCAL = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in _POSTGRES_SETTINGS.items()
)
#: Deadlock and serialisation failure: the transaction was rolled back and succeeds when it is run again.
_RETRY_STATES = frozenset({"40001", "40P01"})
_UNIQUE_VIOLATION = "23505"


def make_engine(url: str | URL) -> Engine:
    """Make an engine for a database URL; it does not connect, so the database may be away.

    Raises `SettingsError` for text that is not a URL and `UnsupportedDatabase` for another kind of database.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    return _postgres_engine(parsed)


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Make sessions that write: on SQLite a transaction takes the write lock when it begins."""
    return sessionmaker(engine, expire_on_commit=False)


def read_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Make sessions that only read: on SQLite they do not wait for writers, nor writers for them."""
    reader = engine.execution_options(sqlite_begin="BEGIN", postgresql_readonly=True)
    return sessionmaker(reader, expire_on_commit=False)


def reading(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Make sessions that only read from the database that other sessions write to."""
    with sessions() as session:
        return read_session_factory(session.get_bind().engine)


def in_transaction(sessions: sessionmaker[Session], work: Callable[[Session], T], attempts: int = 5) -> T:
    """Run `work` in a transaction; run it again after a collision with another one (deadlock, the same new row)."""
    for attempt in range(1, attempts + 1):
        try:
            with sessions.begin() as session:
                return work(session)
        except (OperationalError, IntegrityError) as error:
            if attempt == attempts or not _is_collision(error):
                raise
        time.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311 - spreads the next attempts, guards nothing
    raise AssertionError


def _is_collision(error: OperationalError | IntegrityError) -> bool:
    """Whether the error comes from another transaction and not from the statement itself."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
    return getattr(error.orig, "sqlstate", None) in (_RETRY_STATES | {_UNIQUE_VIOLATION})


def _postgres_engine(url: URL) -> Engine:
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
    _guard(engine)
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


def _sqlite_engine(url: URL) -> Engine:
    if sqlite3.sqlite_version_info < SQLITE_MINIMUM:
        wanted = ".".join(str(part) for part in SQLITE_MINIMUM[:2])
        msg = f"SQLite {sqlite3.sqlite_version} is too old: Auscult needs SQLite {wanted} or later"
        raise UnsupportedDatabase(msg)
    if not url.database or url.database == ":memory:":
        msg = "an SQLite database in memory is lost with its process: name a file in AUSCULT_DATABASE_URL"
        raise UnsupportedDatabase(msg)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
    path = None if url.database.startswith("file:") else Path(url.database)

    def make_file(*_: object) -> None:
        if path is not None:
            _make_private(path)

    event.listen(engine, "do_connect", make_file)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    _guard(engine)
    return engine


def _make_private(path: Path) -> None:
    """Create the file readable by its owner alone: it holds patient data, and SQLite gives its mode to its other files."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        msg = f"the SQLite database {path} cannot be opened: check that its folder is there and may be written"
        raise DatabaseUnavailable(msg) from error


def _set_up_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # `_begin_sqlite` begins transactions instead of the driver, so that DDL belongs to them too.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if not connection.execute("PRAGMA query_only").fetchone()[0]:
        _use_wal(connection)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL for good; SQLite ignores busy_timeout when two processes switch at once."""
    deadline = time.monotonic() + _WAL_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                return
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails when another one wrote in between, whatever the
    # busy_timeout. So those that may write take the lock at once.
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))


def _guard(engine: Engine) -> None:
    """Refuse connections inherited by a fork, and keep the drivers' texts out of messages."""
    event.listen(engine, "connect", _remember_process)
    event.listen(engine, "checkout", _refuse_inherited)
    event.listen(engine, "handle_error", _translate(describe(engine.url)))


def _remember_process(_connection: object, entry: ConnectionPoolEntry) -> None:
    entry.info["pid"] = os.getpid()


def _refuse_inherited(_connection: object, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
    """Make a forked child open its own connections, because two processes would mix their traffic on one socket."""
    if entry.info["pid"] != os.getpid():
        # SQLAlchemy's recipe ("Using Connection Pools with Multiprocessing"); its stubs call the attributes read-only.
        entry.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[misc]
        raise DisconnectionError


def _translate(name: str) -> Callable[[ExceptionContext], None]:
    def translate(context: ExceptionContext) -> None:
        if context.is_pre_ping and context.is_disconnect:
            # The pool tries a connection before it gives it out, and replaces one that is dead.
            return
        reason = _unavailable(context)
        if reason:
            msg = f"{name} {reason}"
            raise DatabaseUnavailable(msg)
        _leave_out_values(context)

    return translate


def _leave_out_values(context: ExceptionContext) -> None:
    """Remove PostgreSQL's DETAIL from an error: it quotes the failing row, which holds patient data."""
    error = context.original_exception
    if not isinstance(error, psycopg.Error):
        return
    kept = None if isinstance(error, psycopg.DataError) else error.diag.message_primary
    error.args = (kept or f"SQLSTATE {error.sqlstate}",)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {error.args[0]}",)


_SQLITE_REASONS = {
    sqlite3.SQLITE_BUSY: "is locked by another process; try again",
    sqlite3.SQLITE_LOCKED: "is locked by another process; try again",
    sqlite3.SQLITE_PROTOCOL: "is locked by another process; try again",
    sqlite3.SQLITE_NOMEM: "cannot be used: this machine is out of memory",
    sqlite3.SQLITE_PERM: "cannot be opened: check its permissions",
    sqlite3.SQLITE_FULL: "cannot grow: its disk is full",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its folder is there and may be written",
    sqlite3.SQLITE_READONLY: "may not be written: check its permissions",
    sqlite3.SQLITE_IOERR: "cannot be read or written: its disk reports an error",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
}


def _unavailable(context: ExceptionContext) -> str | None:
    """The reason why the database cannot answer; None for an error of another kind."""
    error = context.original_exception
    if isinstance(error, sqlite3.Error):
        return _SQLITE_REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if isinstance(error, psycopg.Error) and error.sqlstate and error.sqlstate.startswith(_OF_THE_SERVER):
        return _postgres_reason(error)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate not in _RETRY_STATES:
        return _postgres_reason(error)
    return None


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


def _postgres_reason(error: psycopg.Error) -> str:
    state = error.sqlstate
    if state is None:
        message = str(error)
        return next((reason for pieces, reason in _CONNECT_REASONS if any(piece in message for piece in pieces)), _AWAY)
    if state in _STATE_REASONS:
        return _STATE_REASONS[state]
    by_class = {"53": _EXHAUSTED, "58": _INTERNAL, "F0": _INTERNAL, "XX": _INTERNAL}
    return by_class.get(state[:2], _AWAY)
