"""After an erasure: SQLite's file is written anew, because deleted rows stay in its free pages and its log."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from worker.db.schema.engine import BUSY_TIMEOUT_MS

if TYPE_CHECKING:
    from sqlalchemy import Engine


def overwrite_deleted(engine: Engine) -> bool:
    """Write an SQLite database anew without what was deleted, and empty its log; False where another process kept it from that.

    Nothing on PostgreSQL, whose autovacuum gives the space of deleted rows to new ones; its log, replicas and backups are
    the site's.
    """
    if engine.dialect.name != "sqlite":
        return True
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        row = cursor.fetchone()
        return row is not None and not row[0]
    except sqlite3.Error:
        return False
    finally:
        connection.close()
