"""Storage commitment: "yes" only for what is durable and on record, asked and answered as a modality does it."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from sqlalchemy import select

from dicom_io.client.commitment import STORAGE_COMMITMENT_INSTANCE_UID
from dicom_io.inbox.store import Store
from dicom_io.listener.commitment import ActionStatus, FailureReason
from dicom_io.reasons import Reason
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID
from tests.support.database import BOTH, Site, fresh_site
from tests.support.listening import LOCAL, association_to, listening, store_made
from tests.support.objects import CR, EXPLICIT_LE, Made, new_uid
from tests.support.sites import new_site
from tests.support.waiting import wait_until
from worker.db.filing import holdings
from worker.db.schema.study import Commitment
from worker.intake import commitment
from worker.intake.commitment import CommitmentBook
from worker.intake.filing import Filing, StudyClock
from worker.intake.folders import count_given_up, count_waiting, waiting_folder
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from dicom_io.inbox.journal import Journal
    from dicom_io.inbox.spool import Spool

pytestmark = pytest.mark.integration

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CONTEXT = (STORAGE_COMMITMENT_UID, [EXPLICIT_LE])
#: For how long the site keeps what it commits.
DAYS = 30


@dataclass
class Answer:
    """What the requester was told."""

    event: int
    transaction_uid: str
    committed: list[str] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)


class Requester:
    """A modality: asks over one association and listens for the answer."""

    def __init__(self) -> None:
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.status = 0x0000
        #: Called before it answers.
        self.on_told: Callable[[], object] = bool
        ae = AE("TESTSCU")
        ae.add_supported_context(STORAGE_COMMITMENT_UID, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._on_report)]
        self._server = ae.start_server((LOCAL, 0), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
        self.port = int(self._server.server_address[1])  # type: ignore[union-attr]

    def _on_report(self, event: Any) -> tuple[int, None]:
        told = event.event_information
        if self.status == 0:
            # Where nothing is committed the sequence is not there at all (PS3.4 Table J.3-2, type 1C).
            assert "ReferencedSOPSequence" not in told or told.ReferencedSOPSequence
            committed = [item.ReferencedSOPInstanceUID for item in told.get("ReferencedSOPSequence", [])]
            failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in told.get("FailedSOPSequence", [])}
            self.answers.put(Answer(event.event_type, told.TransactionUID, committed, failed))
        else:
            self.answers.put(Answer(0, told.TransactionUID))
        on_told, self.on_told = self.on_told, bool
        on_told()
        return self.status, None

    def stop(self) -> None:
        self._server.shutdown()  # type: ignore[union-attr]


@dataclass
class Ward:
    """A listener with its book of requests, its database, and the modality."""

    port: int
    book: CommitmentBook
    filing: Filing
    spool: Spool
    journal: Journal
    settings: Settings
    requester: Requester

    def ask(self, references: Sequence[tuple[str, str]], **changes: Any) -> int:
        """Request commitment; the status that the request is answered with."""
        ds = Dataset()
        ds.TransactionUID = changes.get("transaction_uid") or new_uid()
        ds.ReferencedSOPSequence = [_item(*reference) for reference in references]
        instance = changes.get("instance_uid", STORAGE_COMMITMENT_INSTANCE_UID)
        with association_to(self.port, CONTEXT) as association:
            status, _ = association.send_n_action(ds, changes.get("action", 1), STORAGE_COMMITMENT_UID, instance)
        return int(status.Status)

    def send(self, made: Made, folder: Path) -> None:
        """Store an object; it waits in the inbox then."""
        assert store_made(self.port, folder, made)[0] == 0

    def register(self) -> None:
        """What the registrar does with the inbox."""
        for key in self.spool.keys():  # noqa: SIM118
            self.filing.file(self.spool.path(key), key)
            self.spool.remove(key)

    def answer(self) -> Answer:
        """One turn of the loop, and what the modality was told."""
        self.book.turn()
        return self.requester.answers.get(timeout=30)

    @property
    def waiting(self) -> int:
        return count_waiting(self.settings)


def _item(sop_class: str, sop_uid: str) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = sop_class, sop_uid
    return ds


@pytest.fixture(params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


@pytest.fixture(name="ward")
def _ward(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    with ward_of(site, tmp_path, monkeypatch) as ward:
        yield ward


@contextmanager
def ward_of(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    requester = Requester()
    monkeypatch.setenv("AUSCULT_HOME", str(folder / "home"))
    settings = load_settings(peers=(f"MODALITY=TESTSCU@{LOCAL}:{requester.port}",), commitment_days=DAYS)
    book = CommitmentBook(settings, site.sessions)
    filing = Filing(site.sessions, Store(settings.store), StudyClock(0, 900_000))
    try:
        with listening(settings.spool, commitments=book, storage_commitment=True) as served:
            yield Ward(served.port, book, filing, served.spool, served.journal, settings, requester)
    finally:
        requester.stop()


def test_what_is_on_record_and_in_the_store_is_committed(ward: Ward, tmp_path: Path) -> None:
    made = [Made(), Made()]
    for one in made:
        ward.send(one, tmp_path)
    ward.register()
    transaction = new_uid()
    assert ward.ask([(CR, one.sop_uid) for one in made], transaction_uid=transaction) == 0
    told = ward.answer()
    assert (told.event, told.transaction_uid) == (1, transaction)
    assert sorted(told.committed) == sorted(one.sop_uid for one in made)
    assert ward.waiting == 0


def test_what_is_committed_is_on_record_with_its_end_before_the_requester_is_told(ward: Ward, tmp_path: Path) -> None:
    made = Made()
    ward.send(made, tmp_path)
    ward.register()
    transaction = new_uid()
    on_record: list[int] = []
    ward.requester.on_told = lambda: on_record.append(len(promises(ward)))
    assert ward.ask([(CR, made.sop_uid)], transaction_uid=transaction) == 0
    ward.answer()
    assert on_record == [1]
    ((requester, told, at, until),) = promises(ward)
    assert (requester, told, until - at) == ("TESTSCU", transaction, timedelta(days=DAYS))


def promises(ward: Ward) -> list[tuple[str, str, datetime, datetime]]:
    with ward.filing._sessions() as session:
        return [(row.requester, row.transaction_uid, row.at, row.until) for row in session.scalars(select(Commitment))]


def test_a_request_noted_before_the_site_stopped_offering_commitment_is_answered_no(ward: Ward, tmp_path: Path) -> None:
    made = Made()
    ward.send(made, tmp_path)
    ward.register()
    assert ward.ask([(CR, made.sop_uid)]) == 0
    ward.book._settings = ward.settings.model_copy(update={"commitment_days": 0})
    told = ward.answer()
    assert (told.event, told.committed, told.failed) == (2, [], {made.sop_uid: FailureReason.PROCESSING_FAILURE})
    assert promises(ward) == []


def test_commitment_is_not_negotiated_unless_the_site_offers_it(tmp_path: Path) -> None:
    assert not load_settings(home=tmp_path).listener.storage_commitment
    assert load_settings(home=tmp_path, commitment_days=1).listener.storage_commitment
    with listening(tmp_path) as served:
        ae = AE("TESTSCU")
        ae.add_requested_context(STORAGE_COMMITMENT_UID, EXPLICIT_LE)
        ae.add_requested_context(CR, EXPLICIT_LE)
        association = ae.associate(LOCAL, served.port)
        try:
            assert [context.abstract_syntax for context in association.accepted_contexts] == [CR]
            # Abstract syntax not supported (PS3.8 Table 9-18).
            assert [context.result for context in association.rejected_contexts] == [3]
        finally:
            association.release()


def test_an_object_in_the_inbox_is_waited_for_and_not_promised(ward: Ward, tmp_path: Path) -> None:
    made = Made()
    ward.send(made, tmp_path)
    assert ward.ask([(CR, made.sop_uid)]) == 0
    ward.book.turn()
    assert ward.requester.answers.empty()
    assert ward.waiting == 1
    ward.register()
    assert ward.answer().committed == [made.sop_uid]


def test_every_way_to_fail_has_its_reason(ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment, "GRACE_S", 0.0)
    good, other_class, lost = Made(), Made(), Made()
    for one in (good, other_class, lost):
        ward.send(one, tmp_path)
    ward.register()
    with ward.filing._sessions() as session:
        key = holdings.stored(session, [lost.sop_uid])[lost.sop_uid][0].store_key
    Store(ward.settings.store).remove(key)
    never = new_uid()
    assert ward.ask([(CR, good.sop_uid), (DX, other_class.sop_uid), (CR, lost.sop_uid), (CR, never)]) == 0
    told = ward.answer()
    assert told.event == 2
    assert told.committed == [good.sop_uid]
    assert told.failed == {
        other_class.sop_uid: FailureReason.CLASS_INSTANCE_CONFLICT,
        lost.sop_uid: FailureReason.NO_SUCH_OBJECT,
        never: FailureReason.NO_SUCH_OBJECT,
    }


def test_an_object_still_in_the_inbox_at_the_deadline_is_no_yes(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "INBOX_S", 0.0)
    made = Made()
    ward.send(made, tmp_path)
    assert ward.ask([(CR, made.sop_uid)]) == 0
    assert ward.answer().failed == {made.sop_uid: FailureReason.PROCESSING_FAILURE}


def test_a_database_that_was_away_for_long_does_not_turn_a_waiting_object_into_a_no(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "INBOX_S", 0.05)
    with ward_of(site, tmp_path, monkeypatch) as ward:
        now = [0.0]
        ward.book._clock = lambda: now[0]
        made = Made()
        ward.send(made, tmp_path)
        assert ward.ask([(CR, made.sop_uid)]) == 0
        wait_until(lambda: ward.book._waiting()[0].age_s > 0.05, 30, "the request to be older than the limit")
        # The first look that the database answers.
        ward.book.turn()
        assert ward.requester.answers.empty()
        ward.register()
        now[0] = 1.0
        assert ward.answer().committed == [made.sop_uid]


def test_two_listeners_of_one_home_answer_a_request_once(ward: Ward, site: Site, tmp_path: Path) -> None:
    made = Made()
    ward.send(made, tmp_path)
    ward.register()
    assert ward.ask([(CR, made.sop_uid)]) == 0
    other = CommitmentBook(ward.settings, site.sessions)
    ward.requester.on_told = other.turn
    assert ward.answer().committed == [made.sop_uid]
    assert ward.requester.answers.empty()


def test_a_request_survives_the_process_that_took_it(ward: Ward, site: Site, tmp_path: Path) -> None:
    made = Made()
    ward.send(made, tmp_path)
    ward.register()
    assert ward.ask([(CR, made.sop_uid)]) == 0
    assert ward.waiting == 1
    ward.book = CommitmentBook(ward.settings, site.sessions)
    assert ward.answer().committed == [made.sop_uid]


def test_a_requester_that_is_away_is_asked_again_after_growing_pauses(
    site: Site, tmp_path: Path, monkeypatch: Any
) -> None:
    with ward_of(site, tmp_path, monkeypatch) as ward:
        now = [0.0]
        ward.book._clock = lambda: now[0]
        made = Made()
        ward.send(made, tmp_path)
        ward.register()
        ward.requester.status = 0x0110
        assert ward.ask([(CR, made.sop_uid)]) == 0
        pauses = []
        for _ in range(3):
            assert ward.answer().event == 0
            began = now[0]
            ward.book.turn()
            assert ward.requester.answers.empty()
            now[0] = next(due for due, _ in ward.book._due.values())
            pauses.append(now[0] - began)
        assert pauses == [10.0, 20.0, 40.0]
        ward.requester.status = 0
        assert ward.answer().committed == [made.sop_uid]
        assert (ward.waiting, ward.book._due) == (0, {})


def test_certificates_that_have_become_unreadable_put_an_answer_off(
    ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "GRACE_S", 0.0)
    assert ward.ask([(CR, new_uid())]) == 0
    gone = tmp_path / "gone.pem"
    ward.book._settings = ward.settings.model_copy(update={"tls_cert": gone, "tls_key": gone, "tls_ca": gone})
    ward.book.turn()
    assert ward.waiting == 1
    assert ward.requester.answers.empty()


def test_after_some_days_it_is_given_up_and_kept_aside(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment, "GRACE_S", 0.0)
    monkeypatch.setattr(commitment, "GIVE_UP_S", 0.0)
    ward.requester.status = 0x0110
    assert ward.ask([(CR, new_uid())]) == 0
    ward.answer()
    assert (ward.waiting, count_given_up(ward.settings)) == (0, 1)


@pytest.mark.parametrize(
    ("references", "changes", "status"),
    [
        ([], {}, ActionStatus.INVALID_ARGUMENT),
        ([(CR, "not a uid")], {}, ActionStatus.INVALID_ARGUMENT),
        ([(CR, "1.2.3"), ("", "1.2.4")], {}, ActionStatus.INVALID_ARGUMENT),
        ([(CR, "1.2.3")], {"transaction_uid": "none"}, ActionStatus.INVALID_ARGUMENT),
        ([(CR, "1.2.3")], {"action": 2}, ActionStatus.NO_SUCH_ACTION),
        ([(CR, "1.2.3")], {"instance_uid": "1.2.3"}, ActionStatus.NO_SUCH_INSTANCE),
    ],
)
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_request_that_cannot_be_answered_is_refused_at_once(
    references: list[tuple[str, str]], changes: dict[str, Any], status: ActionStatus, ward: Ward
) -> None:
    assert ward.ask(references, **changes) == status
    assert ward.waiting == 0


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_requester_nobody_knows_the_address_of_is_refused(ward: Ward) -> None:
    ds = Dataset()
    ds.TransactionUID, ds.ReferencedSOPSequence = new_uid(), [_item(CR, new_uid())]
    ae = AE("STRANGER")
    ae.add_requested_context(STORAGE_COMMITMENT_UID)
    association = ae.associate(LOCAL, ward.port)
    status, _ = association.send_n_action(ds, 1, STORAGE_COMMITMENT_UID, STORAGE_COMMITMENT_INSTANCE_UID)
    association.release()
    assert status.Status == ActionStatus.NOT_AUTHORISED
    assert ward.waiting == 0
    (noted,) = ward.journal.drain().records
    assert (noted.reason, noted.calling_aet) == (Reason.COMMITMENT_REFUSED, "STRANGER")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_transaction_asked_twice_and_an_object_named_twice_are_answered_once(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "GRACE_S", 0.0)
    transaction, uid = new_uid(), new_uid()
    for _ in range(2):
        assert ward.ask([(CR, uid), (CR, uid)], transaction_uid=transaction) == 0
    assert ward.answer().failed == {uid: FailureReason.NO_SUCH_OBJECT}
    ward.book.turn()
    assert ward.requester.answers.empty()
    assert ward.waiting == 0


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_thousands_of_references_are_answered_and_too_many_are_refused(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "GRACE_S", 0.0)
    uids = [f"1.2.3.{number}" for number in range(5000)]
    assert ward.ask([(CR, uid) for uid in uids]) == 0
    assert set(ward.answer().failed) == set(uids)
    monkeypatch.setattr("dicom_io.listener.commitment.MAX_REFERENCES", 10)
    assert ward.ask([(CR, uid) for uid in uids[:11]]) == ActionStatus.RESOURCE_LIMITATION


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_request_that_cannot_be_written_is_not_acknowledged(ward: Ward) -> None:
    folder = waiting_folder(ward.settings)
    (folder / "tmp").rmdir()
    assert ward.ask([(CR, new_uid())]) == ActionStatus.PROCESSING_FAILURE


@pytest.mark.acceptance
def test_the_serving_process_answers_by_itself(tmp_path: Path) -> None:
    requester, made = Requester(), Made()
    modality = f"MODALITY=TESTSCU@{LOCAL}:{requester.port}"
    with new_site(peers=modality, commitment_days="30") as site, site.running("listen") as running:
        assert store_made(running.port, tmp_path, made)[0] == 0
        ds = Dataset()
        ds.TransactionUID, ds.ReferencedSOPSequence = new_uid(), [_item(CR, made.sop_uid)]
        with association_to(running.port, CONTEXT) as association:
            status, _ = association.send_n_action(ds, 1, STORAGE_COMMITMENT_UID, STORAGE_COMMITMENT_INSTANCE_UID)
        assert status.Status == 0
        assert requester.answers.get(timeout=30).committed == [made.sop_uid]
        wait_until(lambda: site.json("status", check=3)["commitments_waiting"] == 0, 30, "the request to be gone")
        aside = site.home / "spool" / "commitment" / "quarantine" / ("0" * 32)
        aside.write_text("{}", encoding="ascii")
        assert "storage commitment: nobody took" in str(site.json("status", check=3)["problems"])
    requester.stop()
