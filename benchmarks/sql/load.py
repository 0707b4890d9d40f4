"""The rows of `benchmarks.sql.data` into a migrated database, as fast as the database takes them.

PostgreSQL: without indexes, keys and triggers, which come afterwards in bulk; two tables at a time; without write-ahead log, as
each table is emptied in the transaction that fills it (wal_level minimal).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.sql.data import TABLES, statement

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

AT_ONCE = 2
_NAMES = tuple(name for name, _, _ in TABLES)
_IN = ", ".join(f"'{name}'" for name in _NAMES)
#: Constraints that are indexes of a table, and all keys that look at one of the tables or from it.
_CONSTRAINTS = f"""
SELECT CAST(CAST(conrelid AS regclass) AS text), conname, contype, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE contype IN ('p', 'u', 'f') AND (CAST(CAST(conrelid AS regclass) AS text) IN ({_IN})
    OR (contype = 'f' AND CAST(CAST(confrelid AS regclass) AS text) IN ({_IN})))
ORDER BY contype = 'f' DESC, contype = 'u' DESC
"""
_INDEXES = f"SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ({_IN})"


def fill(engine: Engine, studies: int) -> None:
    """Add the studies to a migrated database that has its model with number 1 and no study."""
    if engine.dialect.name == "postgresql":
        _fill_postgres(engine, studies)
    else:
        with engine.begin() as connection:
            for table in _NAMES:
                connection.execute(text(statement("sqlite", table)), {"studies": studies})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT", sqlite_begin="") as connection:
            connection.exec_driver_sql("ANALYZE")


def _fill_postgres(engine: Engine, studies: int) -> None:
    with engine.begin() as connection:
        keys, after = _without_indexes(connection)

    def one(table: str) -> None:
        with engine.begin() as connection:
            _in_bulk(connection)
            connection.exec_driver_sql(f"TRUNCATE {table}")
            connection.execute(text(statement("postgresql", table)), {"studies": studies})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            _in_bulk(connection)
            for index in after[table]:
                connection.exec_driver_sql(index)
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
            )
            connection.exec_driver_sql(f"VACUUM (FREEZE, ANALYZE) {table}")

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(one, _NAMES))
    with engine.begin() as connection:
        _in_bulk(connection)
        for key in keys:
            connection.exec_driver_sql(key)
        connection.exec_driver_sql("ALTER TABLE study ENABLE TRIGGER study_ranked_insert")
        connection.execute(text("UPDATE change_clock SET value = :studies"), {"studies": studies})
    engine.dispose()  # what was set for the load ends with its connections


def _in_bulk(connection: Connection) -> None:
    connection.exec_driver_sql("SET session_replication_role = replica")
    connection.exec_driver_sql("SET maintenance_work_mem = '1GB'")
    connection.exec_driver_sql("SET statement_timeout = 0")
    connection.exec_driver_sql("SET synchronize_seqscans = off")


def _without_indexes(connection: Connection) -> tuple[list[str], dict[str, list[str]]]:
    """Drop keys and indexes; returns what makes the foreign keys again, and by table its indexes.

    The trigger of the reading order goes on: no statement of the benchmark knows its rule.
    """
    keys: list[str] = []
    after: dict[str, list[str]] = {name: [] for name in _NAMES}
    for table, name, kind, definition in connection.exec_driver_sql(_CONSTRAINTS).all():
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        (keys if kind == "f" else after[table]).append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for table, name, definition in connection.exec_driver_sql(_INDEXES).all():
        connection.exec_driver_sql(f"DROP INDEX {name}")
        after[table].append(definition.replace("%", "%%"))  # no parameters are meant
    connection.exec_driver_sql("ALTER TABLE study ENABLE ALWAYS TRIGGER study_ranked_insert")
    return keys, after
