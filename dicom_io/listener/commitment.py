"""Storage Commitment Push Model (PS3.4 annex J): receives requests, and sends their answers to the requester.

By the answer a sender decides whether to delete its own copies, so nothing is decided here: a request is stored durably,
and the worker, which knows what is on disk and in SQL, answers it later by `report`. The answers of peers to requests of our
own are stored durably too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, cast

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role

from dicom_io.client.association import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    AssociationLost,
    Caller,
    association,
)
from dicom_io.client.commitment import STORAGE_COMMITMENT_INSTANCE_UID, ReportUnreadable, read_report
from dicom_io.errors import DicomIoError, SpoolError
from dicom_io.header.elements import Elements, valid_uid
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pynetdicom.association import Association
    from pynetdicom.dimse_primitives import N_ACTION
    from pynetdicom.events import Event

    from dicom_io.client.commitment import CommitmentReport
    from dicom_io.client.peer import Peer

#: Most references of one request; a sender with more must ask in parts.
MAX_REFERENCES = 50_000
_REQUEST, _ALL_COMMITTED, _SOME_FAILED = 1, 1, 2
_TRANSACTION_UID, _REFERENCED_SEQUENCE = 0x00081195, 0x00081199
_REFERENCED_CLASS_UID, _REFERENCED_UID = 0x00081150, 0x00081155


class ActionStatus(IntEnum):
    """The status of the response to a request (PS3.7 section 10.1.4.1.10)."""

    #: The request is on disk; its answer follows later.
    SUCCESS = 0x0000
    #: The request cannot be written to disk; send it again.
    PROCESSING_FAILURE = 0x0110
    #: A UID is missing or invalid, or nothing is referenced.
    INVALID_ARGUMENT = 0x0115
    NO_SUCH_INSTANCE = 0x0112
    NO_SUCH_ACTION = 0x0123
    #: The requester is not among the configured peers, so its address is unknown.
    NOT_AUTHORISED = 0x0124
    #: Too many references, or too many unanswered requests.
    RESOURCE_LIMITATION = 0x0213


class FailureReason(IntEnum):
    """Why an object is not committed (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119


class RequestRefused(DicomIoError):
    """A request for storage commitment is refused.

    Parameters
    ----------
    status : ActionStatus
        The status to answer with.
    """

    def __init__(self, status: ActionStatus) -> None:
        super().__init__(f"The request for storage commitment is refused: {status.name}.")
        self.status = status


class NotTaken(DicomIoError):
    """The requester does not accept the answer to its request for storage commitment."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that the request names."""

    sop_class_uid: str
    sop_uid: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that is not committed, and why."""

    reference: Reference
    reason: FailureReason


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A request for storage commitment."""

    transaction_uid: str
    calling_aet: str
    #: Without duplicates.
    references: tuple[Reference, ...]


class Commitments(Protocol):
    """Stores requests."""

    def note(self, request: CommitmentRequest) -> None:
        """Store a request durably; the listener answers it with success after this call. Raises RequestRefused."""


class CommitmentReports(Protocol):
    """Stores the answers to requests of our own."""

    def note(self, report: CommitmentReport) -> None:
        """Store an answer durably; the listener acknowledges it after this call. Raises SpoolError."""


class ReportService:
    """The N-EVENT-REPORT handler of the listener: answers that peers give over associations of their own.

    Parameters
    ----------
    reports : CommitmentReports
        Stores them.
    """

    def __init__(self, reports: CommitmentReports) -> None:
        self._reports = reports

    def on_report(self, event: Event) -> tuple[int, None]:
        """Handle EVT_N_EVENT_REPORT; after a failure the peer may send it again."""
        try:
            self._reports.note(read_report(event))
        except ReportUnreadable:
            return int(ActionStatus.INVALID_ARGUMENT), None
        except SpoolError:
            return int(ActionStatus.PROCESSING_FAILURE), None
        return int(ActionStatus.SUCCESS), None


class CommitmentService:
    """The N-ACTION handler of the listener.

    Parameters
    ----------
    commitments : Commitments
        Stores requests.
    on_refused : callable
        Called with the association and the status of a refused request.
    """

    def __init__(self, commitments: Commitments, on_refused: Callable[[Association, ActionStatus], None]) -> None:
        self._commitments = commitments
        self._on_refused = on_refused

    def on_action(self, event: Event) -> tuple[int, None]:
        """Handle EVT_N_ACTION; success means that the request is stored and says nothing about the objects."""
        try:
            self._commitments.note(_request_of(event))
        except RequestRefused as refused:
            self._on_refused(event.assoc, refused.status)
            return int(refused.status), None
        return int(ActionStatus.SUCCESS), None


def report(
    peer: Peer, caller: Caller, transaction_uid: str, committed: Sequence[Reference], failed: Sequence[Failure]
) -> None:
    """Answer a request (N-EVENT-REPORT) over a new association, in which we are the SCP (PS3.4 J.3.3).

    Parameters
    ----------
    peer : Peer
        The requester.
    caller : Caller
        Our own AE title and TLS.
    transaction_uid : str
        The transaction of the request.
    committed : sequence of Reference
        The objects that are committed.
    failed : sequence of Failure
        The objects that are not committed.

    Raises
    ------
    CannotConnect, PeerRefused, AssociationLost
        If there is no association, or no response over it.
    NotTaken
        If the peer does not accept the answer.
    """
    context = build_context(STORAGE_COMMITMENT_UID, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
    role = build_role(STORAGE_COMMITMENT_UID, scu_role=False, scp_role=True)
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    # A sequence is only present if it has an item (PS3.4 Table J.3-2).
    if committed:
        ds.ReferencedSOPSequence = [_item(reference) for reference in committed]
    if failed:
        ds.FailedSOPSequence = [_failed_item(failure) for failure in failed]
    event = _SOME_FAILED if failed else _ALL_COMMITTED
    with association(peer, [context], caller, roles=[role]) as opened:
        if not opened.is_established:
            raise NotTaken
        try:
            status, _ = opened.send_n_event_report(ds, event, STORAGE_COMMITMENT_UID, STORAGE_COMMITMENT_INSTANCE_UID)
        except RuntimeError as exc:
            # pynetdicom raises this where the association has ended.
            raise AssociationLost from exc
        if status.get("Status") is None:
            raise AssociationLost
        if status.Status != ActionStatus.SUCCESS:
            raise NotTaken


def _request_of(event: Event) -> CommitmentRequest:
    asked = cast("N_ACTION", event.request)
    if str(asked.RequestedSOPInstanceUID) != STORAGE_COMMITMENT_INSTANCE_UID:
        raise RequestRefused(ActionStatus.NO_SUCH_INSTANCE)
    if event.action_type != _REQUEST:
        raise RequestRefused(ActionStatus.NO_SUCH_ACTION)
    elements = Elements(event.action_information)
    references = tuple(
        dict.fromkeys(
            Reference(item.uid(_REFERENCED_CLASS_UID), item.uid(_REFERENCED_UID))
            for item in elements.items(_REFERENCED_SEQUENCE, MAX_REFERENCES)
        )
    )
    if not references and elements.has(_REFERENCED_SEQUENCE):
        raise RequestRefused(ActionStatus.RESOURCE_LIMITATION)
    transaction_uid = elements.uid(_TRANSACTION_UID)
    uids = (transaction_uid, *(uid for item in references for uid in (item.sop_class_uid, item.sop_uid)))
    if not references or not all(map(valid_uid, uids)):
        raise RequestRefused(ActionStatus.INVALID_ARGUMENT)
    return CommitmentRequest(transaction_uid, event.assoc.requestor.ae_title.strip(), references)


def _item(reference: Reference) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = reference.sop_class_uid, reference.sop_uid
    return ds


def _failed_item(failure: Failure) -> Dataset:
    ds = _item(failure.reference)
    ds.FailureReason = int(failure.reason)
    return ds
