"""One attempt by C-STORE against a peer that answers in any way: what is sent, and what becomes of the row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.archive import NOTE, REPORT, Archive
from tests.support.database import BOTH, Site, fresh_site, scored
from tests.support.studies import chest_film
from worker.database import Database
from worker.db.audit.record import Actor
from worker.db.delivery import destinations
from worker.db.delivery.claims import claim, record_objects
from worker.db.delivery.destinations import NewDestination
from worker.db.delivery.ends import Pauses, finish
from worker.db.delivery.outcome import DeliveryReason, Ended
from worker.db.schema.engine import read_session_factory
from worker.db.schema.states import DestinationKind
from worker.delivering.c_store import CStoreSender
from worker.delivering.planner import plan
from worker.settings import load_settings
from worker.stores import store_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset

    from worker.db.delivery.outcome import ClaimedDelivery, Outcome

pytestmark = pytest.mark.integration

PAUSES = Pauses(0, 600_000)
LEASE_MS = GIVE_UP_MS = 600_000


class Ward:
    """A site with one film whose original is in the store, and a destination."""

    def __init__(self, site: Site, home: Path) -> None:
        self.site = site
        self.settings = load_settings(home=home)
        self.database = Database(site.engine, site.sessions, read_session_factory(site.engine))
        self.sender = CStoreSender(self.settings, self.database)
        self.film = chest_film(0.3, PatientID="4711", PatientName="Doe^Jane")
        self.destination_id = 0

    def judge(self, key: str, probability: float, sop: str) -> None:
        """A film of the study comes and is judged."""
        target = store_of(self.settings, known=True).path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.film.save_as(target)
        task_id = self.site.receive(str(self.film.StudyInstanceUID), sop, store_key=key, patient_id="4711").task_id
        self.site.finish(task_id, scored(probability))
        self.site.settle()

    def tell(self, archive: Archive, **options: Any) -> None:
        new = NewDestination("PACS", DestinationKind.C_STORE, archive.address, **options)
        with self.site.sessions.begin() as session:
            self.destination_id = destinations.add(session, new, Actor("ada"), "a test", from_start=True)

    def attempt(self) -> tuple[ClaimedDelivery, Outcome]:
        """Plan, claim, send, and write down how it ended."""
        plan(self.site.sessions, self.destination_id, GIVE_UP_MS)
        claimed = claim(self.site.sessions, self.destination_id, "me", LEASE_MS)
        assert claimed is not None
        outcome = self.sender.deliver(claimed, partial(record_objects, self.site.sessions, claimed))
        assert finish(self.site.sessions, claimed, outcome, PAUSES)
        return claimed, outcome

    def states(self) -> list[tuple[Any, ...]]:
        rows = self.site.rows("SELECT number, action, state, reason FROM delivery ORDER BY number")
        return [tuple(row.values()) for row in rows]


@pytest.fixture(params=BOTH)
def ward(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ward]:
    for site in fresh_site(request, tmp_path):
        made = Ward(site, tmp_path / "home")
        made.judge("a" * 32, 0.9, "1.2.3.1")
        yield made


def logged(caplog: pytest.LogCaptureFixture, fact: str) -> list[Any]:
    """What our own lines of the log say of it."""
    return [vars(each)[fact] for each in caplog.records if each.name.startswith("worker.") and fact in vars(each)]


def of_kind(archive: Archive, kind: str) -> list[Dataset]:
    return [ds for ds in archive.objects.values() if str(ds.SOPClassUID) == kind]


@pytest.mark.parametrize(
    ("commits", "how"),
    [("", Ended.DELIVERED), ("same", Ended.CONFIRMED), ("never", Ended.UNCONFIRMED), ("failed", Ended.RETRY)],
)
def test_commitment_is_asked_for_where_it_is_offered(ward: Ward, commits: str, how: Ended) -> None:
    with Archive(commits=commits).running() as archive:
        ward.tell(archive)
        _, outcome = ward.attempt()
        assert outcome.how is how
        assert outcome.reason is (DeliveryReason.NOT_COMMITTED if commits == "failed" else None)
        assert archive.asked == bool(commits)
        (report,) = of_kind(archive, REPORT)
        assert (report.PatientName, report.StudyInstanceUID) == ("Doe^Jane", ward.film.StudyInstanceUID)


def test_what_was_taken_is_asked_after_and_not_sent_again(ward: Ward) -> None:
    with Archive(commits="never").running() as archive:
        ward.tell(archive)
        ward.attempt()
        ward.site.change("UPDATE delivery SET not_before_ms = 0")
        archive.commits = "same"
        claimed, outcome = ward.attempt()
        assert (claimed.is_taken, outcome.how) == (True, Ended.CONFIRMED)
        assert set(archive.stores.values()) == {1}


def test_without_commitment_nobody_is_asked(ward: Ward) -> None:
    with Archive(commits="same").running() as archive:
        ward.tell(archive, commitment=False)
        assert ward.attempt()[1].how is Ended.DELIVERED
        assert archive.asked == 0


@pytest.mark.parametrize(
    ("status", "how", "reason"),
    [
        (0xA7FF, Ended.RETRY, DeliveryReason.TRY_LATER),
        (0x0110, Ended.RETRY, DeliveryReason.TRY_LATER),
        (0xA900, Ended.REFUSED, DeliveryReason.OBJECT_REFUSED),
        (0xC123, Ended.REFUSED, DeliveryReason.OBJECT_REFUSED),
        (0xB000, Ended.DELIVERED, None),
    ],
)
def test_the_status_of_the_peer_decides_and_is_logged(
    ward: Ward, caplog: pytest.LogCaptureFixture, status: int, how: Ended, reason: DeliveryReason | None
) -> None:
    with Archive().running() as archive:
        archive.status = status
        ward.tell(archive)
        _, outcome = ward.attempt()
        assert (outcome.how, outcome.reason, outcome.is_destination_away) == (how, reason, status == 0xA7FF)
    assert logged(caplog, "status") == ([f"0x{status:04X}"] if reason else [])


def test_a_peer_that_takes_no_reports_is_sent_nothing(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    with Archive(kinds=()).running() as archive:
        ward.tell(archive)
        assert ward.attempt()[1].reason is DeliveryReason.CLASS_NOT_ACCEPTED
        assert logged(caplog, "not_accepted") == [[REPORT]]
        assert ward.site.value("SELECT begun_at FROM delivery") is None


def test_a_successor_names_its_predecessor_and_a_note_rejects_it_and_every_attempt_is_the_same(ward: Ward) -> None:
    with Archive().running() as archive:
        ward.tell(archive)
        ward.attempt()
        (first,) = of_kind(archive, REPORT)
        ward.judge("b" * 32, 0.95, "1.2.3.2")
        archive.stalls_at = ""
        _, outcome = ward.attempt()
        assert outcome.how is Ended.DELIVERED
        before = dict(archive.objects)
        # Killed behind the last object: the same row is sent again.
        ward.site.change(
            "UPDATE delivery SET state = 'PENDING', delivered_at = NULL, finished_at = NULL, not_before_ms = 0 "
            "WHERE number = 2"
        )
        ward.attempt()
        assert archive.objects.keys() == before.keys()
        (second,) = [ds for ds in of_kind(archive, REPORT) if ds.SOPInstanceUID != first.SOPInstanceUID]
        (note,) = of_kind(archive, NOTE)
    (predecessor,) = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert predecessor.ReferencedSOPInstanceUID == first.SOPInstanceUID
    (series,) = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == [first.SOPInstanceUID]


def test_an_answer_that_changed_since_it_was_planned_is_not_sent(ward: Ward) -> None:
    with Archive().running() as archive:
        ward.tell(archive)
        plan(ward.site.sessions, ward.destination_id, GIVE_UP_MS)
        claimed = claim(ward.site.sessions, ward.destination_id, "me", LEASE_MS)
        assert claimed is not None
        ward.site.change("UPDATE study SET flags = '[\"MODEL_SUSPENDED\"]'")
        outcome = ward.sender.deliver(claimed, partial(record_objects, ward.site.sessions, claimed))
        assert (outcome.how, archive.objects) == (Ended.SUPERSEDED, {})
        assert finish(ward.site.sessions, claimed, outcome, PAUSES)
        ward.site.change("UPDATE study SET flags = '[]'")
        assert ward.attempt()[1].how is Ended.DELIVERED
        assert ward.states() == [
            (1, "REPORT", "SUPERSEDED", "ANSWER_CHANGED"),
            (2, "REPORT", "DELIVERED", None),
        ]


def test_a_film_whose_original_is_gone_is_said_and_nothing_sent(ward: Ward) -> None:
    store_of(ward.settings, known=True).path("a" * 32).unlink()
    with Archive().running() as archive:
        ward.tell(archive)
        assert ward.attempt()[1].reason is DeliveryReason.ORIGINAL_MISSING
        assert archive.objects == {}


@pytest.mark.parametrize("then", ["nothing holds", "another answer"])
def test_what_was_told_is_taken_back_also_where_the_original_was_purged(ward: Ward, then: str) -> None:
    with Archive().running() as archive:
        ward.tell(archive)
        ward.attempt()
        (report,) = of_kind(archive, REPORT)
        for path in store_of(ward.settings, known=True).path("a" * 32).parent.iterdir():
            path.unlink()
        ward.site.change(
            "UPDATE study SET patient_name = 'Döe^Jane', flags = '[\"MODEL_SUSPENDED\"]'"
            if then == "nothing holds"
            else "UPDATE study SET patient_name = 'Döe^Jane', revision = revision + 1"
        )
        ward.attempt()
        (note,) = of_kind(archive, NOTE)
        assert archive.kinds() == ["REJECTION_NOTE", "REPORT"]
    (series,) = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == [report.SOPInstanceUID]
    assert (note.PatientName, note.PatientID, note.StudyInstanceUID) == ("Döe^Jane", "4711", report.StudyInstanceUID)
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    assert ward.states()[1:] == [
        (2, "WITHDRAW", "DELIVERED", None) if then == "nothing holds" else (2, "REPORT", "FAILED", "ORIGINAL_MISSING")
    ]


def test_why_a_peer_is_away_is_in_the_log(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    with Archive().running() as archive:
        ward.tell(archive)
        ward.site.change(f"UPDATE destination SET address = 'dicom-tls://{archive.address}'")
        assert ward.attempt()[1].reason is DeliveryReason.PEER_AWAY
    (said,) = logged(caplog, "detail")
    assert "AUSCULT_TLS_CERT" in said


def test_an_unknown_peer_of_the_settings_is_tried_again_once_for_all_deliveries(ward: Ward) -> None:
    archive = Archive()
    ward.tell(archive)
    ward.site.change("UPDATE destination SET address = 'NOBODY'")
    outcome = ward.attempt()[1]
    assert (outcome.reason, outcome.is_destination_away) == (DeliveryReason.SETTINGS_WRONG, True)
