"""Upgrade a database to the schema of this release."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from worker.addresses import describe
from worker.db.contract.views import VIEWS
from worker.db.schema.revision import current_revision, refuse_newer, scripts_folder
from worker.db.schema.views import VIEW_NAMES
from worker.errors import DatabaseUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

logger = logging.getLogger(__name__)

#: Views with names of patients, which `auscult_names` alone may read.
_WITH_NAMES = ("corrections", "worklist_names")
_AUDITED = ("audit", "audit_objects")
#: The roles of PostgreSQL (NOLOGIN) and the views that each may read; a site makes its accounts members of them.
ROLES = {
    "auscult_reader": tuple(name for name in VIEW_NAMES if name not in {*_WITH_NAMES, *_AUDITED}),
    "auscult_names": _WITH_NAMES,
    "auscult_auditor": _AUDITED,
    "auscult_assessor": (),
}
#: The roles that may add rows through a view, with the columns that they may fill.
WRITERS = {
    "auscult_assessor": {"assessments": "study_uid, side, reader, verdict, label, blinded, airai_code"},
}
#: An account that can change or drop tables, or make itself able to, whatever it is granted.
_RULES_TABLES = """
SELECT 1 FROM pg_roles AS account
WHERE account.rolname = %s AND (
    account.rolsuper OR account.rolcreaterole
    OR EXISTS (SELECT 1 FROM pg_tables
        WHERE schemaname = current_schema() AND pg_has_role(account.oid, tableowner, 'MEMBER'))
    OR EXISTS (SELECT 1 FROM pg_namespace
        WHERE nspname = current_schema() AND pg_has_role(account.oid, nspowner, 'MEMBER')))
"""
_RAISE_CHANGE_NUMBERS = """
UPDATE change_clock SET value = highest.change_id - highest.now
FROM (
    SELECT max(change_id) AS change_id, CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT) AS now
    FROM study WHERE change_id > 0
) AS highest
WHERE highest.change_id >= value + highest.now
"""
_LOCK_KEY = 0x41757363  # "Ausc": a number that no other program on the server is likely to take
_LOCK_TIMEOUT = "120s"


@dataclass(frozen=True, slots=True)
class Migrated:
    """The revisions before and after; equal when nothing had to be done."""

    before: str | None
    after: str


def migrate(engine: Engine, application: str | None = None) -> Migrated:
    """Upgrade to the newest revision in one transaction; when several start at once, one upgrades and the others wait.

    `application`: the account of PostgreSQL under which Auscult runs, where it is not the one that owns the tables; it
    is granted what it needs. Raises `SettingsError` where it would own the audit trail all the same, `SchemaTooNew` when the database belongs to a later release and `DatabaseUnavailable` when it is away.
    """
    config = _config()
    with _exclusive(engine) as connection:
        before = current_revision(connection)
        refuse_newer(engine, before)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        after = current_revision(connection)
        if engine.dialect.name == "postgresql":
            _comment_views(connection)
            _raise_change_numbers(connection)
            _grant_reading(connection)
            if application is not None:
                _grant_application(connection, application)
    if after is None:
        msg = f"{describe(engine.url)} has no revision after its migration"
        raise DatabaseUnavailable(msg)
    if after != before:
        logger.info("database migrated", extra={"action": "migrate", "before": before, "after": after})
    return Migrated(before, after)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that excludes other migrations; a failure undoes everything."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Alembic changes a table by rebuilding it, which must not cascade. The pragma works only outside transactions.
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


def _comment_views(connection: Connection) -> None:
    """Let each view and each of its columns say in the database what it is, for who sees nothing but views."""
    for view in VIEWS.values():
        connection.exec_driver_sql(f"COMMENT ON VIEW {view.name} IS {_quoted(view.meaning)}")
        for column in view.columns:
            connection.exec_driver_sql(f"COMMENT ON COLUMN {view.name}.{column.name} IS {_quoted(column.comment)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


def _raise_change_numbers(connection: Connection) -> None:
    """Let numbers of changes go on rising in a cluster that counts its transactions from the start, as after a restore."""
    connection.exec_driver_sql(_RAISE_CHANGE_NUMBERS)


def _grant_reading(connection: Connection) -> None:
    """Grant each role its views and nothing else; warn where this account may not."""
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    missing = [
        statement
        for role, views in ROLES.items()
        for statement in _grants_refused(connection, role, [f"{schema}.{name}" for name in views], schema)
    ]
    if missing:
        logger.warning(
            "this account may not set up the roles that read the views; have an administrator run: %s;",
            "; ".join(missing),
            extra={"action": "grant_missing"},
        )


def _grants_refused(connection: Connection, role: str, views: list[str], schema: str) -> list[str]:
    """Set up one role; the statements that an administrator must run where this account may not, else none."""
    statements = [f"GRANT USAGE ON SCHEMA {schema} TO {role}"]
    if views:
        statements.append(f"GRANT SELECT ON {', '.join(views)} TO {role}")
    statements += [
        f"GRANT INSERT ({columns}) ON {schema}.{view} TO {role}" for view, columns in WRITERS.get(role, {}).items()
    ]
    create = f"CREATE ROLE {role} NOLOGIN"
    known = "SELECT 1 FROM pg_roles WHERE rolname = %s"
    try:
        if connection.exec_driver_sql(known, (role,)).first() is None:
            _create_role(connection, create)
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        return [create, *statements]
    return []


def _grant_application(connection: Connection, application: str) -> None:
    """Grant the application's account its work on the tables, and of the audit trail reading and adding alone."""
    known = connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (application,)).first()
    if known is None:
        msg = f"AUSCULT_DATABASE_URL names the account {application}, which PostgreSQL does not know: create it first"
        raise SettingsError(msg)
    if connection.exec_driver_sql(_RULES_TABLES, (application,)).first() is not None:
        msg = (
            f"the account {application} of AUSCULT_DATABASE_URL owns the tables or their schema, is a member of their owner, "
            "or has SUPERUSER or CREATEROLE, so nothing would protect the audit trail from it: have an administrator take "
            "that away (REASSIGN OWNED BY, ALTER SCHEMA ... OWNER TO, ALTER ROLE), then run 'auscult migrate' again"
        )
        raise SettingsError(msg)
    schema, role = connection.exec_driver_sql(
        "SELECT quote_ident(current_schema()), quote_ident(%s)", (application,)
    ).one()
    tables = connection.exec_driver_sql(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()"
    )
    limited = {"alembic_version": "SELECT", "audit_event": "SELECT, INSERT", "audit_object": "SELECT, INSERT"}
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    for table in sorted(tables.scalars()):
        connection.exec_driver_sql(f"REVOKE ALL ON {schema}.{table} FROM {role}")
        allowed = limited.get(table, "SELECT, INSERT, UPDATE, DELETE")
        connection.exec_driver_sql(f"GRANT {allowed} ON {schema}.{table} TO {role}")
    connection.exec_driver_sql(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}")
    views = ", ".join(f"{schema}.{name}" for name in VIEW_NAMES)
    connection.exec_driver_sql(f"GRANT SELECT ON {views} TO {role}")
    for view in {view for written in WRITERS.values() for view in written}:
        connection.exec_driver_sql(f"GRANT INSERT ON {schema}.{view} TO {role}")


def _create_role(connection: Connection, statement: str) -> None:
    """Create a role; roles belong to the whole server, so a migration of another database may do so at the same moment."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.DuplicateObject | psycopg.errors.UniqueViolation):
            raise
