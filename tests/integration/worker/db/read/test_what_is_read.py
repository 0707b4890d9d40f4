"""What SQLite reads for one study, or for the first part of a re-run, does not grow with the studies on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.sql.load import fill
from tests.support.database import fresh_site
from tests.support.plans import statements, what_is_read
from worker.db.batches import selection
from worker.db.batches.selection import Selector
from worker.db.read import queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

pytestmark = pytest.mark.integration

STUDIES = 3000
#: It is `held` in one conflict; its neighbour, number 999, is `claim` there.
IN_CONFLICT = "1.2.826.0.1.3680043.8.498.1010101010.1000"


@pytest.fixture
def site(request, tmp_path):
    for site in fresh_site(request, tmp_path, "sqlite"):
        fill(site.engine, STUDIES)
        yield site


def scanned(site, work: Callable[[Session], object], *tables: str) -> list[str]:
    """The lines of plans that read a table from its first row to its last."""
    with statements(site.engine) as seen, site.sessions() as session:
        work(session)
    read = [line for one in seen for line in what_is_read(site.engine, *one)]
    assert read
    return [line for line in read if line.split()[0] == "SCAN" and line.split()[1] in tables]


@pytest.mark.parametrize("study_uid", [IN_CONFLICT, IN_CONFLICT[:-4] + "999"])
def test_a_study_in_a_conflict_is_shown_without_a_look_at_all_conflicts(site, study_uid):
    def show(session: Session) -> None:
        (study,) = queries.study_detail(session, study_uid)
        assert [row["held_study_uid"] for row in study["conflicts"]] == [IN_CONFLICT]

    tables = ("study", "image", "task", "result", "conflict", "note", "claim", "held")
    assert scanned(site, show, *tables) == []


@pytest.mark.parametrize("selector", [Selector(all=True), Selector(states=("FINAL",))], ids=["all", "final"])
def test_the_ends_of_a_rerun_are_found_without_a_look_at_all_studies(site, selector):
    def ends(session: Session) -> None:
        assert selection.range_of(session, selector) == (1, STUDIES)

    assert scanned(site, ends, "study") == []
