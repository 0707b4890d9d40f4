"""Databases of PostgreSQL that tests use one after the other: emptied in between, as a new one costs twenty times the CPU.

A new database is a thousand files that are copied, and deleted after the test. One that a test has left is used again where its
catalogue is as it was: rows are deleted, and those of the migrations and the sequences put back. Where a test has changed more
than rows (tables, views, rights, settings, statistics) or has left many, the database is dropped.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from tests.support.postgres import libpq

if TYPE_CHECKING:
    from tests.support.postgres import Databases

#: Bytes of all tables beyond which a database is dropped: rows that were deleted still take their place in it.
MOST_BYTES = 2 << 20
#: Each row of the catalogue has the number of the transaction that wrote it. Vacuum changes none.
_CATALOGUE = (
    *(
        "pg_class",
        "pg_attribute",
        "pg_attrdef",
        "pg_constraint",
        "pg_index",
        "pg_proc",
        "pg_trigger",
        "pg_rewrite",
        "pg_type",
    ),
    *("pg_namespace", "pg_description", "pg_policy", "pg_depend", "pg_default_acl", "pg_extension", "pg_event_trigger"),
)
_SETTINGS = "pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase AND datname = current_database()"
_FINGERPRINT = "SELECT concat_ws(' ', {})".format(
    ", ".join(
        [
            *(f"(SELECT (count(*), max(xmin::text::bigint))::text FROM {name})" for name in _CATALOGUE),
            *(f"(SELECT count(*) FROM {name})" for name in ("pg_statistic", _SETTINGS)),
        ]
    )
)
_OTHERS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
_BYTES = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
_SEQUENCES = "SELECT sequencename, start_value, last_value FROM pg_sequences WHERE schemaname = 'public'"


class Reused:
    """The databases of a server that are copies of one template."""

    def __init__(self, server: Databases, template: str) -> None:
        self._server, self._template = server, template
        self._fingerprints: dict[str, str] = {}
        self._free: list[str] = []
        with closing(self._connected(template)) as connection:
            self._reset = self._statements(connection)

    @property
    def urls(self) -> list[str]:
        """The databases that there are."""
        return list(self._fingerprints)

    def take(self) -> str:
        """The URL of a database as the migrations leave it."""
        if self._free:
            return self._free.pop()
        url = self._server.create_database(self._template)
        with closing(self._connected(url)) as connection:
            self._fingerprints[url] = _told(connection, _FINGERPRINT)
        return url

    def give_back(self, url: str) -> None:
        """Empty a database for the next test, or drop it; connections to it are cut."""
        if self._is_emptied(url):
            self._free.append(url)
        else:
            del self._fingerprints[url]
            self._server.drop_database(url)

    def _is_emptied(self, url: str) -> bool:
        try:
            with closing(self._connected(url)) as connection:
                # The test may have made the database read-only.
                if _told(connection, "SHOW transaction_read_only") == "on":
                    return False
                connection.execute(_OTHERS)
                if _told(connection, _FINGERPRINT) != self._fingerprints[url]:
                    return False
                if int(_told(connection, _BYTES)) > MOST_BYTES:
                    return False
                connection.execute(self._reset)
        except psycopg.Error:
            return False
        return True

    @staticmethod
    def _connected(url: str) -> psycopg.Connection:
        return psycopg.connect(libpq(url), autocommit=True)

    @staticmethod
    def _statements(connection: psycopg.Connection) -> sql.Composed:
        """What makes a database again what this one is: one string, which is one transaction."""
        parts: list[sql.Composable] = [sql.SQL("SET session_replication_role = replica")]
        tables = [str(name) for (name,) in connection.execute(_TABLES)]
        parts += [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in tables]
        for name in tables:
            for (row,) in connection.execute(
                sql.SQL("SELECT to_jsonb(found)::text FROM {} AS found").format(sql.Identifier(name))
            ):
                parts.append(
                    sql.SQL(
                        "INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{}, {})"
                    ).format(sql.Identifier(name), sql.Identifier(name), sql.Literal(row))
                )
        for name, start, last in connection.execute(_SEQUENCES):
            parts.append(
                sql.SQL("SELECT setval({}, {}, {})").format(
                    sql.Literal(name), sql.Literal(start if last is None else last), sql.Literal(last is not None)
                )
            )
        return sql.SQL("; ").join(parts)


def _told(connection: psycopg.Connection, question: str) -> str:
    """The one value of an answer."""
    row = connection.execute(question).fetchone()
    assert row is not None
    return str(row[0])
