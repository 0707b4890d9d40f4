"""Which model is active, shadow or retired: one row each, every change with who, why and when, whoever is quicker."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.support.database import BOTH, fresh_site, scored
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.models import bundles
from worker.db.models.bundles import Order
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import ModelState
from worker.db.tasks import shadow
from worker.errors import NoActiveModel, UsageError

pytestmark = pytest.mark.integration

ADA = Order("ada", "it is better")


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def do(site, change, model_id: int, order: Order = ADA) -> bool:
    done: bool = in_transaction(site.sessions, lambda session: change(session, model_id, order))
    return done


def states(site) -> dict[str, str]:
    with site.sessions() as session:
        return {item.label: item.state.value for item in bundles.standings(session)}


def events(site) -> list[tuple[str, ...]]:
    rows = site.rows(
        "SELECT model.version, event, who, why FROM model_event JOIN model ON model.id = model_event.model_id "
        "ORDER BY model_event.id"
    )
    return [tuple(row.values()) for row in rows]


FIRST = ("1", "ACTIVATED", "test", "first")


def test_activating_another_model_is_two_events_with_who_and_why(site):
    other = site.add_model("2")
    assert do(site, bundles.activate, other)
    assert states(site) == {"test-1": "AVAILABLE", "test-2": "ACTIVE"}
    assert events(site) == [FIRST, ("1", "DEACTIVATED", *_said(ADA)), ("2", "ACTIVATED", *_said(ADA))]


def _said(order: Order) -> tuple[str, str]:
    return order.who, order.why


def test_activating_the_active_model_changes_nothing(site):
    assert not do(site, bundles.activate, site.model_id)
    assert events(site) == [FIRST]


def test_a_start_never_changes_what_somebody_decided(site):
    other = site.add_model("2")
    with site.sessions.begin() as session:
        bundles.activate_first(session, other, Order("auscult", "first start"))
    assert states(site)["test-1"] == "ACTIVE"
    assert events(site) == [FIRST]


def test_a_model_stands_where_its_last_event_left_it(site):
    site.add_model("2")
    do(site, bundles.retire, site.add_model("3"), Order("bob", "too old"))
    with site.sessions() as session:
        first, second, third = bundles.standings(session)
    assert (first.state, first.who, first.why) == (ModelState.ACTIVE, "test", "first")
    assert (second.state, second.who, second.why) == (ModelState.AVAILABLE, None, None)
    assert (third.state, third.who, third.why) == (ModelState.RETIRED, "bob", "too old")
    assert first.since <= second.since <= third.since


def test_a_retired_model_is_used_for_nothing_new_until_that_is_taken_back(site):
    other = site.add_model("2")
    assert do(site, bundles.retire, other)
    assert not do(site, bundles.retire, other)
    for change in (bundles.activate, shadow.start_shadow):
        with pytest.raises(UsageError, match="test-2 is retired"):
            do(site, change, other)
    with pytest.raises(UsageError, match="test-2 is retired"):
        _rerun(site, other)
    assert site.value("SELECT count(*) FROM batch") == 0
    assert do(site, bundles.reinstate, other)
    assert not do(site, bundles.reinstate, other)
    _rerun(site, other)
    assert do(site, bundles.activate, other)
    assert [event for version, event, *_ in events(site) if version == "2"] == ["RETIRED", "REINSTATED", "ACTIVATED"]


def _rerun(site, model_id: int) -> None:
    with site.sessions.begin() as session:
        reruns.open_batch(
            session, selector=Selector(all=True), model_id=model_id, who="ada", why="", keep_current=False
        )


def test_a_model_in_use_is_not_retired(site):
    other = site.add_model("2")
    with pytest.raises(UsageError, match="test-1 is active and cannot be retired: activate another model first"):
        do(site, bundles.retire, site.model_id)
    do(site, shadow.start_shadow, other)
    with pytest.raises(UsageError, match="test-2 is shadow and cannot be retired: end its shadow"):
        do(site, bundles.retire, other)
    assert states(site) == {"test-1": "ACTIVE", "test-2": "SHADOW"}


def test_new_images_are_scored_by_the_model_that_is_active_then(site):
    first = site.receive("1.1", "1.1.1")
    other = site.add_model("2")
    do(site, bundles.activate, other)
    second = site.receive("1.2", "1.2.1")
    found = {row["id"]: row["model_id"] for row in site.rows("SELECT id, model_id FROM task")}
    assert found == {first.task_id: site.model_id, second.task_id: other}
    site.finish(first.task_id, scored(0.9))
    site.finish(second.task_id, scored(0.9))
    assert [row["model_version"] for row in (site.entry("1.1"), site.entry("1.2"))] == ["1", "2"]


def test_without_an_active_model_nothing_is_registered(site):
    site.change("UPDATE model SET state = 'AVAILABLE'")
    with pytest.raises(NoActiveModel, match="auscult model activate"):
        site.receive()
    assert site.value("SELECT count(*) FROM image") == 0


@pytest.mark.parametrize("state", ["ACTIVE", "SHADOW"])
def test_the_database_itself_forbids_a_second_model_in_that_state(site, state):
    others = [site.add_model(version) for version in ("2", "3")]
    site.change(f"UPDATE model SET state = '{state}' WHERE id = {site.model_id}")
    with pytest.raises(IntegrityError), site.engine.begin() as connection:
        connection.execute(text(f"UPDATE model SET state = '{state}' WHERE id = {others[0]}"))


def test_of_many_activations_at_once_one_model_is_active_and_each_event_is_kept(site):
    ids = [site.add_model(str(number)) for number in range(2, 8)]
    start = threading.Barrier(len(ids))

    def run(model_id: int) -> bool:
        start.wait(30)
        return do(site, bundles.activate, model_id)

    with ThreadPoolExecutor(len(ids)) as pool:
        assert all(pool.map(run, ids))
    assert site.value("SELECT count(*) FROM model WHERE state = 'ACTIVE'") == 1
    last = site.rows("SELECT model_id FROM model_event WHERE event = 'ACTIVATED' ORDER BY id DESC")[0]["model_id"]
    assert site.value(f"SELECT state FROM model WHERE id = {last}") == "ACTIVE"
    counts = {
        row["event"]: row["n"] for row in site.rows("SELECT event, count(*) AS n FROM model_event GROUP BY event")
    }
    assert counts == {"ACTIVATED": 7, "DEACTIVATED": 6}


def test_images_that_come_during_activations_have_each_one_task_of_a_model_that_was_active(site):
    ids = [site.add_model(str(number)) for number in range(2, 5)]
    start = threading.Barrier(2)

    def switch() -> None:
        start.wait(30)
        for model_id in ids * 3:
            do(site, bundles.activate, model_id)

    def arrive() -> None:
        start.wait(30)
        for number in range(20):
            site.receive(f"1.{number}", f"1.{number}.1")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(switch), pool.submit(arrive)]:
            done.result(60)
    assert site.value("SELECT count(*) FROM task") == 20
    assert site.value("SELECT count(DISTINCT image_id) FROM task") == 20


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_after_the_commit_of_an_activation_no_image_comes_with_the_model_before(site):
    """A registration under way holds the activation up; one that begins during the activation waits for it."""
    other = site.add_model("2")
    with ThreadPoolExecutor(2) as pool:
        with site.sessions.begin() as session:
            assert bundles.in_use(session).active_id == site.model_id
            activation = pool.submit(do, site, bundles.activate, other)
            with pytest.raises(TimeoutError):
                activation.result(0.3)
        assert activation.result(30)
        with site.sessions.begin() as session:
            bundles.activate(session, site.model_id, ADA)
            arrival = pool.submit(site.receive)
            with pytest.raises(TimeoutError):
                arrival.result(0.3)
        entry = arrival.result(30)
    assert site.value(f"SELECT model_id FROM task WHERE id = {entry.task_id}") == site.model_id
