"""What an order asks for makes a study urgent, by the newest header; its films that wait follow."""

from __future__ import annotations

import pytest

from tests.support.database import BOTH, fresh_site, scored
from worker.db.filing import holdings
from worker.db.models.bundles import Order
from worker.db.tasks import shadow
from worker.db.tasks.create import BATCH_PRIORITY

pytestmark = pytest.mark.integration

URGENT, ROUTINE, FETCHED = -1, 0, holdings.BACKFILL_PRIORITY


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def priorities(site) -> list[int]:
    """The priority of the study, then of its live tasks in the order of their age."""
    tasks = site.rows("SELECT priority FROM task WHERE batch_id IS NULL ORDER BY id")
    return [site.study().priority, *(row["priority"] for row in tasks)]


@pytest.mark.parametrize(
    ("word", "priority"),
    [("STAT", URGENT), ("HIGH", URGENT), ("ROUTINE", ROUTINE), ("MEDIUM", ROUTINE), ("LOW", ROUTINE), ("", ROUTINE)],
)
def test_an_order_makes_a_study_urgent_or_not(site, word, priority):
    site.receive(requested_priority=word)
    assert priorities(site) == [priority, priority]
    assert site.value("SELECT urgent_pending FROM queue_health") == int(priority < 0)


def test_a_later_film_with_an_urgent_order_takes_those_along_that_wait(site):
    judged = site.receive(sop="1.1").task_id
    site.finish(judged, scored(0.1))
    site.receive(sop="1.2")
    site.receive(sop="1.3", requested_priority="STAT")
    assert priorities(site) == [URGENT, ROUTINE, URGENT, URGENT]
    site.receive(sop="1.4")
    assert priorities(site)[-1] == URGENT, "a header that says nothing changes nothing"


def test_a_correction_of_the_order_follows_the_newest_version(site):
    site.receive(requested_priority="STAT", pixels="same")
    site.receive(requested_priority="ROUTINE", pixels="same")
    assert priorities(site) == [ROUTINE, ROUTINE, ROUTINE]
    assert site.rows("SELECT column_name, old_value, new_value FROM correction") == [
        {"column_name": "requested_priority", "old_value": "STAT", "new_value": "ROUTINE"}
    ]
    site.receive(requested_priority="HIGH", pixels="same")
    assert priorities(site) == [URGENT] * 4


def test_an_older_film_that_comes_late_does_not_change_the_order(site):
    site.receive(sop="1.1", requested_priority="ROUTINE")
    site.receive(sop="1.2", requested_priority="STAT", arrived_ms=1)
    assert priorities(site) == [ROUTINE, ROUTINE, ROUTINE]


def test_a_fetched_study_stays_behind_live_work_whatever_its_order_said(site):
    site.receive(requested_priority="STAT", sop="1.1", priority=FETCHED)
    site.receive(requested_priority="HIGH", sop="1.2", priority=FETCHED)
    assert priorities(site) == [FETCHED] * 3
    site.receive(requested_priority="STAT", sop="1.3")
    assert priorities(site) == [FETCHED, FETCHED, FETCHED, URGENT], "a live film of it is a live film"


def test_tasks_of_batches_have_one_priority_so_that_the_first_is_the_first(site):
    second = site.add_model("2")
    with site.sessions.begin() as session:
        shadow.start_shadow(session, second, Order("ada", ""))
    site.receive(requested_priority="STAT")
    assert site.value("SELECT priority FROM task WHERE batch_id IS NOT NULL") == BATCH_PRIORITY
