"""A report goes with its heat map or, where that cannot be made, without it, and another attempt never sends the other one too.

Real films, the real network, and an archive that answers over the same association.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tests.support.archive import HEAT_MAP, REPORT, Archive
from tests.support.studies import chest_film
from worker.batches.ingest import ingest
from worker.db.audit.record import Actor
from worker.db.delivery import destinations
from worker.db.delivery.claims import claim, record_objects
from worker.db.delivery.destinations import NewDestination
from worker.db.delivery.ends import Pauses, finish
from worker.db.delivery.outcome import DeliveryReason, Ended
from worker.db.schema.states import DestinationKind
from worker.delivering.c_store import CStoreSender
from worker.delivering.planner import plan
from worker.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from worker.database import Database
    from worker.db.delivery.outcome import Outcome
    from worker.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

#: By this policy the film gets no score, so no heat map of it can be made.
NO_SCORE = "VIEW_UNKNOWN=refuse"
GIVE_UP_MS = LEASE_MS = 600_000


@dataclass
class Ward:
    """A site with one judged film that does not name its view, and a destination that is to have heat maps."""

    settings: Settings
    database: Database
    destination_id: int = 0

    def tell(self, archive: Archive) -> None:
        new = NewDestination("PACS", DestinationKind.C_STORE, archive.address, heat_map=True)
        with self.database.sessions.begin() as session:
            self.destination_id = destinations.add(session, new, Actor("ada"), "a test", from_start=True)

    def attempt(self, gate_policy: str = "") -> Outcome:
        """Plan, claim, send, and write down how it ended."""
        sessions = self.database.sessions
        plan(sessions, self.destination_id, GIVE_UP_MS)
        claimed = claim(sessions, self.destination_id, "me", LEASE_MS)
        assert claimed is not None
        settings = self.settings.model_copy(update={"gate_policy": gate_policy})
        outcome = CStoreSender(settings, self.database).deliver(claimed, partial(record_objects, sessions, claimed))
        assert finish(sessions, claimed, outcome, Pauses(0, 0))
        return outcome

    def send_again(self) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(text("UPDATE delivery SET state = 'PENDING', delivered_at = NULL, finished_at = NULL"))

    def state(self) -> tuple[Any, ...]:
        with self.database.engine.connect() as connection:
            return tuple(connection.execute(text("SELECT state, reason FROM delivery")).one())

    def retried(self) -> int:
        with self.database.sessions.begin() as session:
            return destinations.retry(session, Actor("ada"), "a test", give_up_ms=GIVE_UP_MS)


@pytest.fixture
def ward(database: Database, migrated_url: str, tmp_path: Path) -> Ward:
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url, quiet_s=0)
    path = tmp_path / "film.dcm"
    chest_film(0.3, PatientID="4711", ViewPosition="").save_as(path, enforce_file_format=True)
    ingest(settings, database, [path])
    return Ward(settings, database)


def test_a_report_goes_without_the_heat_map_that_cannot_be_made_and_stays_as_it_is(ward: Ward) -> None:
    with Archive(commits="never").running() as archive:
        ward.tell(archive)
        assert ward.attempt(NO_SCORE).how is Ended.UNCONFIRMED
        assert ward.state() == ("UNCONFIRMED", "HEAT_MAP_MISSING")
        (report,) = archive.objects.values()
        assert report.SOPClassUID == REPORT
        assert HEAT_MAP not in str(report)
        ward.send_again()
        archive.commits = "same"
        # The heat map could be made by now, and a report that refers to it would be a second one.
        assert ward.attempt().how is Ended.CONFIRMED
        assert (archive.kinds(), set(archive.stores.values())) == (["REPORT"], {2})
        assert ward.state() == ("CONFIRMED", "HEAT_MAP_MISSING")
        assert ward.retried() == 0


def test_a_heat_map_that_may_be_there_is_not_followed_by_a_report_without_it(ward: Ward) -> None:
    with Archive().running() as archive:
        ward.tell(archive)
        assert ward.attempt().how is Ended.DELIVERED
        assert ward.state() == ("DELIVERED", None)
        before = set(archive.objects)
        ward.send_again()
        outcome = ward.attempt(NO_SCORE)
        assert (outcome.how, outcome.reason) == (Ended.REFUSED, DeliveryReason.CANNOT_MAKE)
        assert (set(archive.objects), archive.kinds()) == (before, ["HEAT_MAP", "REPORT"])
        assert ward.retried() == 1
        assert ward.attempt().how is Ended.DELIVERED
        assert set(archive.objects) == before


def test_an_answer_over_the_same_association_that_leaves_an_object_out_confirms_nothing(ward: Ward) -> None:
    with Archive(commits="partly").running() as archive:
        ward.tell(archive)
        outcome = ward.attempt()
        assert (outcome.how, outcome.reason) == (Ended.RETRY, DeliveryReason.NOT_COMMITTED)
        assert ward.state() == ("PENDING", "NOT_COMMITTED")
        archive.commits = "same"
        assert ward.attempt().how is Ended.CONFIRMED
        assert (archive.asked, set(archive.stores.values())) == (2, {2})
