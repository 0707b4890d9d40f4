"""A demo whose studies do not move says so and ends; it does not wait for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.database import fresh_site, scored
from worker.cli.demo import DemoStalled, wait_judged
from worker.database import Database
from worker.db.schema.engine import read_session_factory
from worker.processes.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.database import Site

pytestmark = pytest.mark.integration


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path, "sqlite")


@pytest.fixture
def database(site: Site) -> Database:
    return Database(site.engine, site.sessions, read_session_factory(site.engine))


def test_studies_that_do_not_move_end_the_demo_with_a_sentence(site: Site, database: Database) -> None:
    site.receive("1.1", "1.1.1")
    with pytest.raises(DemoStalled, match=r"0 of 2 studies are judged and nothing has moved for 0\.1 s") as stalled:
        wait_judged(database, ["1.1", "1.2"], Supervisor(), stalled_s=0.1)
    assert stalled.value.exit_code == 1


def test_studies_that_are_judged_end_the_wait(site: Site, database: Database) -> None:
    site.finish(site.receive("1.1", "1.1.1").task_id, scored(0.9))
    site.change("UPDATE study SET ready_at_ms = 0, state = 'FINAL', finished_at = last_rx_at")
    wait_judged(database, ["1.1"], Supervisor(), stalled_s=0.0)
