"""A backup of PostgreSQL, by its own programs: what is restored is the same, with its guards."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa

from tests.support.database import open_site, scored
from tests.support.postgres import own_postgres
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.schema.engine import in_transaction, make_engine
from worker.db.schema.migrate import migrate
from worker.db.schema.revision import check_revision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.integration


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with own_postgres() as made:
        yield made


def program(server: PostgresServer, name: str, url: str, *arguments: str | Path) -> None:
    """Run one of the server's programs on a database."""
    database = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    command = [server.bin / name, f"--dbname={database}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_restored_dump_has_the_same_worklist_and_the_same_guards(server: PostgresServer, tmp_path: Path) -> None:
    url, copy = server.create_database(), server.create_database()
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    with open_site(url) as site:
        for number, probability in enumerate((0.1, 0.9, 0.4)):
            entry = site.receive(f"1.2.{number}", f"1.2.{number}.1")
            site.finish(entry.task_id, scored(probability))
        site.settle()
        in_transaction(site.sessions, lambda session: record(session, Act.CONFLICT_RESOLVED, Actor("ada")))
        before = site.rows("SELECT study_uid, ai_status, label, probability, priority_rank FROM worklist ORDER BY 1")
    assert len(before) == 3
    program(server, "pg_dump", url, "--format=custom", f"--file={tmp_path / 'auscult.dump'}")
    program(server, "pg_restore", copy, "--exit-on-error", tmp_path / "auscult.dump")
    restored = make_engine(copy)
    check_revision(restored)
    assert migrate(restored).before == migrate(restored).after
    restored.dispose()
    with open_site(copy) as site:
        assert (
            site.rows("SELECT study_uid, ai_status, label, probability, priority_rank FROM worklist ORDER BY 1")
            == before
        )
        with pytest.raises(sa.exc.DBAPIError) as caught:
            site.change("DELETE FROM audit_event")
        assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege)
