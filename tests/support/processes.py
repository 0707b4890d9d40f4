"""Processes that work at the same time and share nothing that this process has opened."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

#: Imported once, by the process that forks them: each would need a second for it.
_IMPORTED = ["tests.support.database", "worker.db.schema.migrate", "sqlalchemy.dialects.postgresql.psycopg"]


def processes(count: int) -> Pool:
    """So many of them; the functions that they are given must be importable."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context.Pool(count)
