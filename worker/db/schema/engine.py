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

SQLITE_MINIMUM = (3, 35, 0)
BUSY_TIMEOUT_MS = 30_000
_WAL_TIMEOUT_S = 30.0
#: How a transaction begins that may write. One that reads first and writes later fails when another one wrote in between,
#: whatever the busy_timeout; so it takes the lock at once.
_TO_WRITE = "BEGIN IMMEDIATE"
#: SQLite's own pauses between two attempts at the write lock grow to a tenth of a second; it is held for a few ms.
_AGAIN_S = 0.001
_UNSYNCED = {"sqlite_synchronous": "NORMAL"}
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
    from worker.db.schema.postgresql import leave_out_values, postgres_engine, unavailable  # loads the driver

    engine = postgres_engine(parsed)
    _guard(engine, unavailable, leave_out_values)
    return engine


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


def in_transaction(
    sessions: sessionmaker[Session], work: Callable[[Session], T], attempts: int = 5, *, is_synced: bool = True
) -> T:
    """Run `work` in a transaction; run it again after a collision with another one (deadlock, the same new row).

    `is_synced`: False for what ends with this machine anyway, as a claim or a sign of life. On SQLite its commit is not synced,
    and a power cut may take it back; the next synced commit makes it durable too, so that no later one outlives it.
    """
    for attempt in range(1, attempts + 1):
        try:
            with sessions.begin() as session:
                if not is_synced:
                    session.connection(execution_options=_UNSYNCED)
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


def _sqlite_engine(url: URL) -> Engine:
    if sqlite3.sqlite_version_info < SQLITE_MINIMUM:
        wanted = ".".join(str(part) for part in SQLITE_MINIMUM[:2])
        msg = f"SQLite {sqlite3.sqlite_version} is too old: Auscult needs SQLite {wanted} or later"
        raise UnsupportedDatabase(msg)
    if not url.database or url.database == ":memory:":
        msg = "an SQLite database in memory is lost with its process: name a file in AUSCULT_DATABASE_URL"
        raise UnsupportedDatabase(msg)
    # The connection that was used last comes next: one that waits idle keeps its schema alone, and no pages of other work.
    engine = create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True, pool_use_lifo=True
    )
    path = None if url.database.startswith("file:") else Path(url.database)

    def make_file(*_: object) -> None:
        if path is not None:
            _make_private(path)

    event.listen(engine, "do_connect", make_file)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    _guard(engine, _sqlite_unavailable)
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
    options = connection.get_execution_options()
    begin = options.get("sqlite_begin", _TO_WRITE)
    if begin != _TO_WRITE:
        _execute(connection, begin)
        return
    _set_synchronous(connection, options.get("sqlite_synchronous", "FULL"))
    _wait_to_write(connection)


def _execute(connection: Connection, statement: str) -> None:
    """Execute without what SQLAlchemy adds to each statement; one that fails does so once more, by the way that has words for it."""
    try:
        _raw(connection).execute(statement)
    except sqlite3.Error:
        connection.exec_driver_sql(statement)


def _set_synchronous(connection: Connection, wanted: str) -> None:
    """Set how the next commit is synced, which SQLite takes between two transactions alone."""
    if connection.info.get("synchronous", "FULL") != wanted:
        _execute(connection, f"PRAGMA synchronous = {wanted}")
        connection.info["synchronous"] = wanted


def _wait_to_write(connection: Connection) -> None:
    """Begin a transaction with the write lock, as soon as no other one has it."""
    raw = _raw(connection)
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        while _is_locked(raw) and time.monotonic() < deadline:
            time.sleep(_AGAIN_S)
        if not raw.in_transaction:
            _execute(connection, _TO_WRITE)
    finally:
        raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def _is_locked(raw: sqlite3.Connection) -> bool:
    """Try to begin; True where another one has the lock, False where it has begun or anything else is the matter."""
    try:
        raw.execute(_TO_WRITE)
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return False


def _raw(connection: Connection) -> sqlite3.Connection:
    raw: Any = connection.connection.driver_connection
    return raw  # type: ignore[no-any-return]


def _guard(
    engine: Engine,
    unavailable: Callable[[BaseException | None], str | None],
    leave_out_values: Callable[[ExceptionContext], None] = lambda _: None,
) -> None:
    """Refuse connections inherited by a fork, and keep the drivers' texts out of messages."""
    event.listen(engine, "connect", _remember_process)
    event.listen(engine, "checkout", _refuse_inherited)
    event.listen(engine, "handle_error", _translate(describe(engine.url), unavailable, leave_out_values))


def _remember_process(_connection: object, entry: ConnectionPoolEntry) -> None:
    entry.info["pid"] = os.getpid()


def _refuse_inherited(_connection: object, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
    """Make a forked child open its own connections, because two processes would mix their traffic on one socket."""
    if entry.info["pid"] != os.getpid():
        # SQLAlchemy's recipe ("Using Connection Pools with Multiprocessing"); its stubs call the attributes read-only.
        entry.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[misc]
        raise DisconnectionError


def _translate(
    name: str,
    unavailable: Callable[[BaseException | None], str | None],
    leave_out_values: Callable[[ExceptionContext], None],
) -> Callable[[ExceptionContext], None]:
    def translate(context: ExceptionContext) -> None:
        if context.is_pre_ping and context.is_disconnect:
            # The pool tries a connection before it gives it out, and replaces one that is dead.
            return
        reason = unavailable(context.original_exception)
        if reason:
            msg = f"{name} {reason}"
            raise DatabaseUnavailable(msg)
        leave_out_values(context)

    return translate


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


def _sqlite_unavailable(error: BaseException | None) -> str | None:
    """The reason why the database cannot answer; None for an error of another kind."""
    if isinstance(error, sqlite3.Error):
        return _SQLITE_REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return None
