"""Migrations of thousands of rows, up and down; and one of two migrating processes killed half-way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic import command
from sqlalchemy import text

from tests.support.many_rows import fill, sums
from tests.support.migrations import head, rows_of, with_rows
from tests.support.waiting import wait_until
from worker.db.schema.revision import check_revision, current_revision, known_revisions

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STUDIES = 2_000
#: A migration that stops in the middle of its transaction and says so: after so many statements that write.
HALF_WAY = """
import sys
from sqlalchemy import event
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate

engine = make_engine(sys.argv[1])
written = []

def stop(connection, cursor, statement, *_):
    if statement.split()[0] in ("CREATE", "ALTER", "INSERT", "UPDATE", "DROP"):
        written.append(statement)
    if len(written) == 40:
        print("half-way", flush=True)
        sys.stdin.read()

event.listen(engine, "after_cursor_execute", stop)
migrate(engine)
print("whole", flush=True)
"""


def test_thousands_of_rows_go_up_and_down_whole(engine: Engine) -> None:
    fill(engine, STUDIES)
    before = sums(engine)
    assert before["study"][0] == STUDIES
    for revision in known_revisions()[1:]:
        with_rows(engine, command.upgrade, revision)
        assert sums(engine) == before, revision
    check_revision(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM worklist")).scalar_one() == STUDIES
    for revision in reversed(known_revisions()[:-1]):
        with_rows(engine, command.downgrade, revision)
        assert sums(engine) == before, revision


def test_a_migration_killed_half_way_leaves_the_rows_to_the_one_that_waits(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    fill(engine, STUDIES)
    before = sums(engine)
    engine.dispose()
    first = subprocess.Popen(
        [sys.executable, "-c", HALF_WAY, database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "half-way\n"
    own = {"AUSCULT_HOME": str(tmp_path / "home"), "AUSCULT_DATABASE_URL": database_url}
    second = subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "migrate"],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if engine.dialect.name == "postgresql":
            wait_until(lambda: _waits(engine), 60, "the second migration to wait for the first")
        with engine.connect().execution_options(sqlite_begin="BEGIN") as connection:
            assert current_revision(connection) == "0001", "nothing is half done"
        first.send_signal(signal.SIGKILL)
        assert first.wait(60) == -signal.SIGKILL
        said, _ = second.communicate(timeout=100)
        assert second.returncode == 0, said
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()
    assert [row["version_num"] for row in rows_of(engine, "alembic_version")] == [head()]
    assert sums(engine) == before
    if engine.dialect.name == "sqlite":
        assert rows_of(engine, "pragma_foreign_key_check") == []
        assert rows_of(engine, "pragma_integrity_check") == [{"integrity_check": "ok"}]


def _waits(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting = text(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        )
        return bool(connection.execute(waiting).scalar_one() == 1)
