"""Deliveries as rows: what changed becomes one row, one sender has it at a time, and a late one writes nothing."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.client.commitment import CommitmentReport
from tests.support.database import BOTH, Site, fresh_site, scored
from worker.db.audit.record import Actor
from worker.db.delivery import changes, destinations
from worker.db.delivery.claims import ClaimLost, claim, record_objects
from worker.db.delivery.destinations import NewDestination
from worker.db.delivery.ends import AnswerTaken, Pauses, confirm, finish, release
from worker.db.delivery.outcome import DeliveryReason, Ended, ObjectKind, Outcome, SentObject
from worker.db.schema.states import DestinationKind
from worker.delivering.planner import plan
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from worker.db.delivery.outcome import ClaimedDelivery

pytestmark = pytest.mark.integration

PAUSES = Pauses(first_ms=60_000, confirmation_ms=600_000)
GIVE_UP_MS, LEASE_MS = 3_600_000, 60_000
ACTOR = Actor("ada")
HEAT_MAP = SentObject(ObjectKind.HEAT_MAP, "1.2.840.10008.5.1.4.1.1.7", "2.25.11", "2.25.12")
REPORT = SentObject(ObjectKind.REPORT, "1.2.840.10008.5.1.4.1.1.88.34", "2.25.1", "2.25.2")
NOTE = SentObject(ObjectKind.REJECTION_NOTE, "1.2.840.10008.5.1.4.1.1.88.59", "2.25.3", "2.25.4")


@pytest.fixture(params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


def destination(site: Site, name: str = "PACS", **rule: Any) -> int:
    new = NewDestination(name, DestinationKind.C_STORE, "ARCHIVE@127.0.0.1:104", **rule)
    with site.sessions.begin() as session:
        return destinations.add(session, new, ACTOR, "a test")


def planned(site: Site, destination_id: int) -> list[tuple[Any, ...]]:
    while plan(site.sessions, destination_id, GIVE_UP_MS):
        pass
    return told(site, destination_id)


def told(site: Site, destination_id: int) -> list[tuple[Any, ...]]:
    sql = (
        f"SELECT number, action, state FROM delivery WHERE destination_id = {destination_id} ORDER BY study_id, number"
    )
    return [tuple(row.values()) for row in site.rows(sql)]


def answered(site: Site, probability: float = 0.9, sop: str = "1.2.3.1", **names: Any) -> None:
    """A film of the study, judged, and the study settled."""
    site.finish(site.receive(sop=sop, **names).task_id, scored(probability))
    site.settle()


def claimed(site: Site, destination_id: int, owner: str = "me") -> ClaimedDelivery:
    found = claim(site.sessions, destination_id, owner, LEASE_MS)
    assert found is not None
    return found


def delivered(site: Site, destination_id: int, *objects: SentObject) -> None:
    mine = claimed(site, destination_id)
    record_objects(site.sessions, mine, objects or (REPORT,), (site.model_id, "key"))
    assert finish(site.sessions, mine, Outcome(Ended.DELIVERED), PAUSES)


def test_an_answer_becomes_one_row_for_each_destination_and_never_another(site: Site) -> None:
    one, other = destination(site), destination(site, "OTHER")
    answered(site)
    for _ in range(2):
        assert planned(site, one) == [(1, "REPORT", "PENDING")]
        assert planned(site, other) == [(1, "REPORT", "PENDING")]
    delivered(site, one)
    # Changes that are none of what is told: the row is counted again, and read.
    site.change("UPDATE study SET n_images = n_images + 1, priority = -1")
    assert planned(site, one) == [(1, "REPORT", "DELIVERED")]


def test_planners_side_by_side_make_one_row(site: Site) -> None:
    one = destination(site)
    answered(site)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: plan(site.sessions, one, GIVE_UP_MS), range(8)))
    assert planned(site, one) == [(1, "REPORT", "PENDING")]


def test_an_open_study_is_waited_for_and_a_later_film_makes_a_later_row(site: Site) -> None:
    one = destination(site)
    task_id = site.receive(quiet_ms=600_000).task_id
    site.finish(task_id, scored(0.9))
    site.settle()
    assert planned(site, one) == []
    site.change("UPDATE study SET ready_at_ms = 1, force_at_ms = 1")
    site.settle()
    assert planned(site, one) == [(1, "REPORT", "PENDING")]
    delivered(site, one)
    answered(site, 0.95, "1.2.3.2")
    assert planned(site, one) == [(1, "REPORT", "DELIVERED"), (2, "REPORT", "PENDING")]
    second = claimed(site, one)
    assert [(each.objects, each.model_id, each.film_key) for each in second.earlier] == [
        ((REPORT,), site.model_id, "key")
    ]


def test_an_answer_that_changes_before_it_is_sent_is_told_as_it_is_then(site: Site) -> None:
    one = destination(site)
    answered(site)
    planned(site, one)
    answered(site, 0.95, "1.2.3.2")
    assert planned(site, one) == [(1, "REPORT", "SUPERSEDED"), (2, "REPORT", "PENDING")]


def test_what_was_told_is_taken_back_when_it_is_in_doubt_and_a_note_ends_its_standing(site: Site) -> None:
    one = destination(site, findings=("PRESENT",))
    answered(site)
    planned(site, one)
    delivered(site, one)
    site.change("UPDATE study SET flags = '[\"IDENTITY_CONFLICT\"]'")
    assert planned(site, one)[1:] == [(2, "WITHDRAW", "PENDING")]
    delivered(site, one, NOTE)
    site.change("UPDATE study SET flags = '[]'")
    assert planned(site, one)[2:] == [(3, "REPORT", "PENDING")]
    earlier = claimed(site, one).earlier
    assert [(each.number, each.is_standing) for each in earlier] == [(1, False), (2, True)]


def test_a_new_destination_is_told_what_comes_or_everything(site: Site) -> None:
    answered(site)
    late = destination(site, "LATE")
    new = NewDestination("ALL", DestinationKind.C_STORE, "ARCHIVE@127.0.0.1:104")
    with site.sessions.begin() as session:
        everything = destinations.add(session, new, ACTOR, "a test", from_start=True)
    assert planned(site, late) == []
    assert planned(site, everything) == [(1, "REPORT", "PENDING")]
    with pytest.raises(UsageError, match="there is a destination"), site.sessions.begin() as session:
        destinations.add(session, new, ACTOR, "again")


def test_one_sender_has_a_delivery_and_one_whose_lease_ran_out_writes_nothing(site: Site) -> None:
    one = destination(site)
    answered(site)
    planned(site, one)
    first = claimed(site, one, "first")
    assert claim(site.sessions, one, "second", LEASE_MS) is None
    record_objects(site.sessions, first, (REPORT,), (site.model_id, "key"))
    assert release(site.sessions, PAUSES) == 0
    site.change("UPDATE delivery SET lease_until_ms = 1")
    assert release(site.sessions, PAUSES) == 1
    (row,) = site.rows("SELECT state, reason, attempts, lease_owner FROM delivery")
    assert tuple(row.values()) == ("PENDING", "SENDER_LOST", 1, None)
    site.change("UPDATE delivery SET not_before_ms = 0")
    site.change("UPDATE destination SET not_before_ms = 0")
    second = claimed(site, one, "second")
    assert second.objects == (REPORT,)
    assert second.transaction_uid != first.transaction_uid
    with pytest.raises(ClaimLost):
        record_objects(site.sessions, first, (NOTE,))
    assert not finish(site.sessions, first, Outcome(Ended.CONFIRMED), PAUSES)
    assert finish(site.sessions, second, Outcome(Ended.CONFIRMED), PAUSES)
    events = site.rows("SELECT act, outcome FROM audit_event WHERE act = 'RESULT_DELIVERED' ORDER BY id")
    assert [event["outcome"] for event in events] == [4, 0]


def test_a_destination_that_is_away_is_put_off_with_all_its_deliveries(site: Site) -> None:
    one, other = destination(site), destination(site, "OTHER")
    for number in (1, 2):
        answered(site, sop=f"1.2.{number}.1", study=f"1.2.{number}")
    planned(site, one)
    planned(site, other)
    away = Outcome(Ended.RETRY, DeliveryReason.PEER_AWAY, is_destination_away=True)
    assert finish(site.sessions, claimed(site, one), away, PAUSES)
    assert claim(site.sessions, one, "me", LEASE_MS) is None
    with site.sessions() as session:
        assert changes.with_work(session) == [(other, "OTHER")]
    assert claim(site.sessions, other, "me", LEASE_MS) is not None
    # Nothing has left, so there is nothing to audit.
    assert site.rows("SELECT id FROM audit_event WHERE act = 'RESULT_DELIVERED'") == []
    site.change("UPDATE destination SET not_before_ms = 0")
    assert finish(site.sessions, claimed(site, one), Outcome(Ended.DELIVERED), PAUSES)
    assert site.value(f"SELECT failures FROM destination WHERE id = {one}") == 0


def all_of(*objects: SentObject) -> Callable[[Iterable[str]], bool]:
    """An answer that names these objects and refuses none."""
    return CommitmentReport("2.25.1", frozenset(one.sop_uid for one in objects), frozenset()).covers


def test_an_answer_that_leaves_an_object_out_confirms_nothing(site: Site) -> None:
    one = destination(site)
    answered(site)
    planned(site, one)
    mine = claimed(site, one)
    record_objects(site.sessions, mine, (HEAT_MAP, REPORT), (site.model_id, "key"))
    assert finish(site.sessions, mine, Outcome(Ended.UNCONFIRMED), PAUSES)
    assert confirm(site.sessions, mine.transaction_uid, PAUSES, all_of(REPORT)) is AnswerTaken.TAKEN
    assert told(site, one) == [(1, "REPORT", "PENDING")]
    assert site.value("SELECT reason FROM delivery") == "NOT_COMMITTED"


def test_a_confirmation_counts_once_for_the_last_request_and_a_refused_one_sends_again(site: Site) -> None:
    one = destination(site)
    answered(site)
    planned(site, one)
    mine = claimed(site, one)
    record_objects(site.sessions, mine, (REPORT,), (site.model_id, "key"))
    asked = mine.transaction_uid
    assert confirm(site.sessions, asked, PAUSES, all_of(REPORT)) is AnswerTaken.LATER
    assert finish(site.sessions, mine, Outcome(Ended.UNCONFIRMED), PAUSES)
    assert confirm(site.sessions, "2.25.99", PAUSES, all_of(REPORT)) is AnswerTaken.UNKNOWN
    assert confirm(site.sessions, asked, PAUSES, all_of()) is AnswerTaken.TAKEN
    assert told(site, one) == [(1, "REPORT", "PENDING")]
    assert site.value("SELECT delivered_at FROM delivery") is None
    site.change("UPDATE delivery SET not_before_ms = 0")
    again = claimed(site, one)
    assert not again.is_taken
    record_objects(site.sessions, again, (REPORT,), (site.model_id, "key"))
    assert finish(site.sessions, again, Outcome(Ended.UNCONFIRMED), PAUSES)
    assert confirm(site.sessions, asked, PAUSES, all_of(REPORT)) is AnswerTaken.UNKNOWN
    assert confirm(site.sessions, again.transaction_uid, PAUSES, all_of(REPORT)) is AnswerTaken.TAKEN
    assert told(site, one) == [(1, "REPORT", "CONFIRMED")]
    assert confirm(site.sessions, again.transaction_uid, PAUSES, all_of()) is AnswerTaken.UNKNOWN


def test_what_nobody_takes_is_given_up_and_tried_again_by_command(site: Site) -> None:
    one = destination(site)
    answered(site)
    planned(site, one)
    site.change("UPDATE delivery SET give_up_ms = 1")
    later = Outcome(Ended.RETRY, DeliveryReason.TRY_LATER)
    assert finish(site.sessions, claimed(site, one), later, PAUSES)
    assert told(site, one) == [(1, "REPORT", "FAILED")]
    assert planned(site, one) == [(1, "REPORT", "FAILED")]
    with site.sessions.begin() as session:
        assert destinations.retry(session, ACTOR, "a test", study="9.9", give_up_ms=GIVE_UP_MS) == 0
        assert destinations.retry(session, ACTOR, "a test", give_up_ms=GIVE_UP_MS) == 1
    assert told(site, one) == [(1, "REPORT", "PENDING")]
    assert len(site.rows("SELECT id FROM audit_event WHERE act = 'DELIVERY_RETRIED'")) == 1


def test_a_confirmation_that_never_comes_is_asked_for_until_it_is_given_up(site: Site) -> None:
    one = destination(site)
    answered(site)
    planned(site, one)
    mine = claimed(site, one)
    record_objects(site.sessions, mine, (REPORT,), (site.model_id, "key"))
    assert finish(site.sessions, mine, Outcome(Ended.UNCONFIRMED), PAUSES)
    assert claim(site.sessions, one, "me", LEASE_MS) is None
    site.change("UPDATE delivery SET not_before_ms = 0, give_up_ms = 1")
    again = claimed(site, one)
    assert again.is_taken
    assert finish(site.sessions, again, Outcome(Ended.UNCONFIRMED), PAUSES)
    (row,) = site.rows("SELECT state, reason FROM delivery")
    assert tuple(row.values()) == ("DELIVERED", "COMMITMENT_MISSING")


def test_a_removed_destination_is_told_nothing_more(site: Site) -> None:
    one = destination(site)
    answered(site)
    planned(site, one)
    with site.sessions.begin() as session:
        destinations.remove(session, "PACS", ACTOR, "a test")
    assert told(site, one) == [(1, "REPORT", "SUPERSEDED")]
    assert claim(site.sessions, one, "me", LEASE_MS) is None
    assert not plan(site.sessions, one, GIVE_UP_MS)
    with site.sessions() as session:
        assert destinations.rules(session) == []
    assert destination(site) != one
    assert [tuple(row.values()) for row in site.rows("SELECT name, ended_at IS NULL AS used FROM destination")]


def test_a_claim_names_all_that_a_sender_needs(site: Site) -> None:
    one = destination(site, heat_map=True)
    answered(site)
    planned(site, one)
    mine = claimed(site, one)
    assert (mine.study_uid, mine.side, mine.number, mine.attempts) == ("1.2.3", 0, 1, 1)
    assert (mine.target.name, mine.target.heat_map, mine.target.commitment) == ("PACS", True, True)
    assert mine.uid == dataclasses.replace(mine, token=7, owner="another").uid
    assert mine.transaction_uid != dataclasses.replace(mine, owner="another").transaction_uid
