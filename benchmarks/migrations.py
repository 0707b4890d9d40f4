"""Migrations of a big database: seconds and locks of each step, up and down, on SQLite and PostgreSQL.

Needs the packages of the tests. 250,000 studies are a million rows of study, image, task and result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from sqlalchemy import text

from tests.support.many_rows import PER_STUDY, fill, sums
from tests.support.migrations import config
from tests.support.postgres import own_postgres
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import _exclusive
from worker.db.schema.revision import known_revisions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alembic.config import Config
    from sqlalchemy import Connection, Engine

#: Tables that nobody else can read while the step runs.
LOCKS = (
    "SELECT DISTINCT relname FROM pg_locks JOIN pg_class ON pg_class.oid = relation "
    "WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND relkind = 'r' ORDER BY relname"
)


def step(engine: Engine, direction: Callable[[Config, str], None], revision: str) -> tuple[float, list[str]]:
    """Run one step; return its seconds and the tables that it locked against readers."""
    with _exclusive(engine) as connection:
        settings = config()
        settings.attributes["connection"] = connection
        began = time.perf_counter()
        direction(settings, revision)
        locked = _locked(connection)
    return time.perf_counter() - began, locked


def _locked(connection: Connection) -> list[str]:
    if connection.dialect.name == "sqlite":
        return ["writers alone (WAL)"]
    return list(connection.execute(text(LOCKS)).scalars())


def measure(engine: Engine, studies: int) -> None:
    """Fill one database and print a line for each step."""
    began = time.perf_counter()
    fill(engine, studies)
    say(f"{engine.dialect.name}: {studies * PER_STUDY:,} rows made in {time.perf_counter() - began:.0f} s")
    before = sums(engine)
    revisions = known_revisions()
    steps = [(command.upgrade, "up", revision) for revision in revisions[1:]]
    steps += [(command.downgrade, "down", revision) for revision in reversed(revisions[:-1])]
    for direction, word, revision in steps:
        seconds, locked = step(engine, direction, revision)
        say(f"| {word} to {revision} | {seconds:.1f} s | {', '.join(locked) or 'none'} |")
    if sums(engine) != before:
        raise SystemExit("rows were lost")
    engine.dispose()


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Measure on both databases."""
    parser = argparse.ArgumentParser(prog="dev.py bench migrations", description="Migrations of a big database.")
    parser.add_argument("--studies", type=int, default=250_000, help="a million rows at 250,000 (default)")
    studies = parser.parse_args(arguments).studies
    with tempfile.TemporaryDirectory(prefix="auscult-bench-") as folder:
        measure(make_engine(f"sqlite:///{Path(folder) / 'auscult.db'}"), studies)
    with own_postgres() as server:
        measure(make_engine(server.create_database()), studies)
    return 0
