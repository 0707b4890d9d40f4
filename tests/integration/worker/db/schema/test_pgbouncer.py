"""All of a film's way through pgbouncer in transaction mode, where nothing of a session may be relied on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.database import open_site, scored
from tests.support.objects import Made
from tests.support.peers import provided
from tests.support.pgbouncer import PgBouncer
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate
from worker.db.schema.revision import check_revision
from worker.db.tasks import claims
from worker.intake.filing import Filing, StudyClock
from worker.intake.registrar import Registrar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.database import Site

pytestmark = pytest.mark.integration

FILMS = 24


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database behind a pooler."""
    with PgBouncer(provided(("pgbouncer",), ("pgbouncer",)), postgres_url).running() as pooler:
        yield pooler.url


def test_a_database_behind_a_transaction_pooler_is_migrated_filled_and_worked_off(pooled: str, tmp_path: Path) -> None:
    engine = make_engine(pooled)
    migrate(engine)
    check_revision(engine)
    engine.dispose()
    with open_site(pooled) as site:
        register(site, tmp_path)
        tasks = [row["id"] for row in site.rows("SELECT id FROM task ORDER BY id")]
        assert len(tasks) == FILMS
        assert len(site.due()) == FILMS
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda task: work(site, task), tasks))
        site.settle()
        assert site.value("SELECT count(*) FROM worklist WHERE ai_status = 'FINAL' AND label = 'PNEUMONIA'") == FILMS


def register(site: Site, folder: Path) -> None:
    """What the listener's registrar does with a full inbox."""
    spool, journal = Spool(folder / "spool"), Journal(folder / "spool")
    for number in range(FILMS):
        spool.put_file(Made().write(folder / f"{number}.dcm"))
    filing = Filing(site.sessions, Store(folder / "store"), StudyClock(0, 60_000))
    registrar = Registrar(spool, journal, site.sessions, lambda: filing, lambda: None)
    registrar.turn()
    # The next turn finds the inbox empty, and says so in SQL: until then nothing is final.
    registrar.turn()
    assert (spool.keys(), registrar.put_off) == ([], 0)


def work(site: Site, task: int) -> None:
    claim = site.claimed(task)
    assert claims.renew(site.sessions, [claim], 60_000)
    assert site.ended(claim, scored(0.9))
