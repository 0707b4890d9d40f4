"""Answers to our own requests for storage commitment, over an association that the peer opens to the listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydicom.dataset import Dataset
from pynetdicom import build_role

from dicom_io.client.association import Caller
from dicom_io.client.commitment import STORAGE_COMMITMENT_INSTANCE_UID, CommitmentReport
from dicom_io.client.peer import Peer
from dicom_io.errors import SpoolError
from dicom_io.listener.commitment import Failure, FailureReason, NotTaken, Reference, report
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID
from tests.support.listening import LOCAL, association_to, listening
from tests.support.objects import EXPLICIT_LE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

ONE, OTHER = Reference("1.2.3", "1.2.3.1"), Reference("1.2.3", "1.2.3.2")
CONTEXT = (STORAGE_COMMITMENT_UID, [EXPLICIT_LE])


class Reports:
    """Keeps what is told, or cannot."""

    def __init__(self) -> None:
        self.told: list[CommitmentReport] = []
        self.is_full = False

    def note(self, report: CommitmentReport) -> None:
        if self.is_full:
            raise SpoolError
        self.told.append(report)


@pytest.fixture(name="reports")
def _reports() -> Reports:
    return Reports()


@pytest.fixture(params=[True, False], ids=["commitment is offered", "it is not"])
def port(request: pytest.FixtureRequest, tmp_path: Path, reports: Reports) -> Iterator[int]:
    with listening(tmp_path / "spool", reports=reports, storage_commitment=request.param) as served:
        yield served.port


def test_an_answer_is_kept_before_it_is_acknowledged(port: int, reports: Reports) -> None:
    peer = Peer("AUSCULT", LOCAL, port)
    report(peer, Caller("ARCHIVE"), "2.25.7", [ONE], [])
    report(peer, Caller("ARCHIVE"), "2.25.8", [ONE], [Failure(OTHER, FailureReason.NO_SUCH_OBJECT)])
    first, second = reports.told
    assert (first.transaction_uid, set(first.committed), first.covers(["1.2.3.1"])) == ("2.25.7", {"1.2.3.1"}, True)
    assert (second.transaction_uid, set(second.failed), second.covers(["1.2.3.1"])) == ("2.25.8", {"1.2.3.2"}, False)
    reports.is_full = True
    with pytest.raises(NotTaken):
        report(peer, Caller("ARCHIVE"), "2.25.9", [ONE], [])


@pytest.mark.parametrize("names_it", [True, False], ids=["no object", "no transaction"])
def test_an_answer_without_objects_or_its_transaction_is_refused(port: int, reports: Reports, names_it: bool) -> None:
    ds = Dataset()
    if names_it:
        ds.TransactionUID = "2.25.1"
    else:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ONE.sop_class_uid, ONE.sop_uid
        ds.ReferencedSOPSequence = [item]
    role = build_role(STORAGE_COMMITMENT_UID, scp_role=True)
    with association_to(port, CONTEXT, ext_neg=[role]) as association:
        status, _ = association.send_n_event_report(ds, 1, STORAGE_COMMITMENT_UID, STORAGE_COMMITMENT_INSTANCE_UID)
    assert status.Status == 0x0115
    assert reports.told == []


def test_a_peer_that_does_not_propose_to_be_the_scp_is_offered_what_the_site_offers(
    tmp_path: Path, reports: Reports
) -> None:
    with listening(tmp_path / "spool", reports=reports) as served, association_to(served.port, CONTEXT) as association:
        assert not association.is_established
