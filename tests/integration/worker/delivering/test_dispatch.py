"""The loop that cleans up behind senders: claims of those that ended unseen, answers and attempts that nobody waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.client.commitment import CommitmentReport
from tests.support.claimants import claimant, killed
from tests.support.database import BOTH, Site, fresh_site, scored
from tests.support.webhook import SECRET, WebhookReceiver
from worker.database import Database
from worker.db.audit.record import Actor
from worker.db.delivery import destinations
from worker.db.delivery.claims import claim
from worker.db.delivery.destinations import NewDestination
from worker.db.schema.engine import read_session_factory
from worker.db.schema.states import DestinationKind
from worker.delivering.dispatch import Deliverer
from worker.delivering.planner import plan
from worker.presence import DELIVERIES, departed
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

HOUR_MS = 3_600_000
OWNER = "here:0123"


def answered(site: Site) -> None:
    site.finish(site.receive().task_id, scored(0.9))
    site.settle()


class Ward:
    """A site with an answer that a sender holds, and the loop of the next listener."""

    def __init__(self, site: Site, home: Path) -> None:
        self.site = site
        self.settings = load_settings(home=home)
        database = Database(site.engine, site.sessions, read_session_factory(site.engine))
        self.deliverer = Deliverer(self.settings, database)
        answered(site)
        new = NewDestination("PACS", DestinationKind.C_STORE, "ARCHIVE@127.0.0.1:104")
        with site.sessions.begin() as session:
            destination_id = destinations.add(session, new, Actor("ada"), "a test", from_start=True)
        plan(site.sessions, destination_id, HOUR_MS)
        assert claim(site.sessions, destination_id, OWNER, HOUR_MS) is not None

    def remove(self) -> None:
        with self.site.sessions.begin() as session:
            destinations.remove(session, "PACS", Actor("ada"), "a test")

    def state(self) -> tuple[Any, ...]:
        (row,) = self.site.rows("SELECT state, reason FROM delivery")
        return tuple(row.values())


@pytest.fixture(params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def ward(site: Site, tmp_path: Path) -> Ward:
    return Ward(site, tmp_path / "home")


def test_the_claim_of_a_sender_that_ended_with_its_listener_does_not_wait_for_its_lease(ward: Ward) -> None:
    home = ward.settings.home
    with claimant(home, OWNER, claims=DELIVERIES):
        ward.deliverer.turn()
        assert ward.state() == ("CLAIMED", None)
    ward.deliverer.turn()
    assert ward.state() == ("PENDING", "SENDER_LOST")
    assert departed(home, claims=DELIVERIES) == []


def test_claims_of_workers_and_of_senders_are_apart(ward: Ward) -> None:
    killed(ward.settings.home, OWNER)
    ward.deliverer.turn()
    assert ward.state() == ("CLAIMED", None)
    assert [each.name for each in departed(ward.settings.home)] == [OWNER]


def test_an_attempt_whose_destination_was_removed_ends_with_its_lease(ward: Ward) -> None:
    ward.remove()
    ward.site.change("UPDATE delivery SET lease_until_ms = 1")
    ward.deliverer.turn()
    assert ward.state() == ("SUPERSEDED", "SENDER_LOST")


def test_answers_that_nobody_waits_for_are_not_kept(ward: Ward) -> None:
    ward.remove()
    ward.site.change("DELETE FROM delivery")
    ward.deliverer.confirmations.note(CommitmentReport("2.25.7", frozenset({"2.25.1"}), frozenset()))
    kept = ward.settings.home / "confirmations" / "new"
    assert len(list(kept.iterdir())) == 1
    ward.deliverer.turn()
    assert list(kept.iterdir()) == []


def test_more_destinations_than_places_take_turns(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secrets = tmp_path / "webhooks"
    secrets.write_text(f"one {SECRET}\ntwo {SECRET}\n")
    settings = load_settings(home=tmp_path / "home", database_url=site.url, webhook_secrets=secrets)
    database = Database(site.engine, site.sessions, read_session_factory(site.engine))
    answered(site)
    caplog.set_level("INFO")
    deliverer = Deliverer(settings, database, most_at_once=1)
    with WebhookReceiver() as one, WebhookReceiver() as two:
        for name, receiver in (("one", one), ("two", two)):
            new = NewDestination(name, DestinationKind.WEBHOOK, receiver.url, commitment=False, names_patient=False)
            with site.sessions.begin() as session:
                destinations.add(session, new, Actor("ada"), "a test", from_start=True)
        deliverer.start()
        try:
            one.wait_for(1)
            two.wait_for(1)
        finally:
            deliverer.stop(30)
    # The first one would have waited for further work.
    assert caplog.messages.count("a sender makes room") == 1
