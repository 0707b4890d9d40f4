"""Bring a database to the schema of this release, and refuse one that is not."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from worker.addresses import describe
from worker.db.views import VIEW_NAMES
from worker.errors import DatabaseUnavailable, SchemaTooNew, SchemaTooOld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

logger = logging.getLogger(__name__)

READER_ROLE = "auscult_reader"
_LOCK_KEY = 0x41757363  # "Ausc": any number that no other program on the same server takes
_LOCK_TIMEOUT = "120s"


@dataclass(frozen=True, slots=True)
class Migrated:
    """The revision before and after; equal when there was nothing to do."""

    before: str | None
    after: str


def migrate(engine: Engine) -> Migrated:
    """Upgrade to the newest revision in one transaction; of several that start at once one works, the others wait.

    Raises `SchemaTooNew` when the database belongs to a later release and `DatabaseUnavailable` when it is away.
    """
    config = _config()
    with _exclusive(engine) as connection:
        before = _current(connection)
        _refuse_newer(engine, config, before)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        after = _current(connection)
        if engine.dialect.name == "postgresql":
            _grant_reading(connection)
    if after is None:
        msg = f"{describe(engine.url)} has no revision after its migration"
        raise DatabaseUnavailable(msg)
    if after != before:
        logger.info("database migrated", extra={"action": "migrate", "before": before, "after": after})
    return Migrated(before, after)


def check_revision(engine: Engine) -> None:
    """Return when the schema is that of this release; raise `SchemaTooOld` or `SchemaTooNew` when not."""
    config = _config()
    with engine.connect().execution_options(sqlite_begin="BEGIN") as connection:
        current = _current(connection)
    head = _script(config).get_current_head()
    if current == head:
        return
    _refuse_newer(engine, config, current)
    has = f"has revision {current}" if current else "holds no schema yet"
    msg = f"{describe(engine.url)} {has}, this release needs {head}: run 'auscult migrate'"
    raise SchemaTooOld(msg)


def scripts_folder() -> Path:
    """Where the migrations lie: inside the installed package, else in the checkout."""
    installed = Path(str(files("worker"))) / "_migrations"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _script(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(engine: Engine, config: Config, current: str | None) -> None:
    script = _script(config)
    if current is None or current in {revision.revision for revision in script.walk_revisions()}:
        return
    msg = (
        f"{describe(engine.url)} has revision {current}, this release knows {script.get_current_head()} as the newest: "
        "upgrade Auscult, or restore a backup made before"
    )
    raise SchemaTooNew(msg)


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """Give a transaction that no other migration runs beside; a failure undoes everything."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Alembic changes a table by making it anew, which must not cascade; only settable outside a transaction.
            driver = connection.connection.dbapi_connection
            if driver is None:
                msg = f"{describe(engine.url)} closed its connection"
                raise DatabaseUnavailable(msg)
            cursor = driver.cursor()
            cursor.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
            finally:
                cursor.execute("PRAGMA foreign_keys = ON")
                cursor.close()
            return
        with connection.begin():
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
            yield connection


def _grant_reading(connection: Connection) -> None:
    """Let the role of the worklist's readers see the views and nothing else; a site may forbid us to, so only warn."""
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    views = ", ".join(f"{schema}.{name}" for name in VIEW_NAMES)
    grants = (f"GRANT USAGE ON SCHEMA {schema} TO {READER_ROLE}", f"GRANT SELECT ON {views} TO {READER_ROLE}")
    create = f"CREATE ROLE {READER_ROLE} NOLOGIN"
    known = "SELECT 1 FROM pg_roles WHERE rolname = %s"
    try:
        if connection.exec_driver_sql(known, (READER_ROLE,)).first() is None:
            _create_role(connection, create)
        with connection.begin_nested():
            for grant in grants:
                connection.exec_driver_sql(grant)
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        statements = "; ".join((create, *grants))
        logger.warning(
            "this account may not set up the role %s; have an administrator run: %s;",
            READER_ROLE,
            statements,
            extra={"action": "grant_missing"},
        )


def _create_role(connection: Connection, statement: str) -> None:
    """Roles belong to the whole server: a migration of another database may make it at the same moment."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.DuplicateObject | psycopg.errors.UniqueViolation):
            raise
