"""Storage Commitment Push Model (PS3.4 annex J): a request is taken here, and its answer sent to who asked.

A sender asks whether it may delete its own copies. What is answered must be true, so nothing is decided here: a request
is handed on to be noted durably, and who knows what is on disk and on record answers it later by `report`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, cast

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role

from dicom_io.association import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    AssociationLost,
    Caller,
    association,
)
from dicom_io.elements import Elements, valid_uid
from dicom_io.errors import DicomIoError
from dicom_io.negotiation import STORAGE_COMMITMENT_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pynetdicom.association import Association
    from pynetdicom.dimse_primitives import N_ACTION
    from pynetdicom.events import Event

    from dicom_io.peer import Peer

#: The well-known instance that requests name (PS3.4 J.3.5).
STORAGE_COMMITMENT_INSTANCE_UID = "1.2.840.10008.1.20.1.1"
#: References of one request that are taken; who has more asks in parts.
MAX_REFERENCES = 50_000
_REQUEST, _ALL_COMMITTED, _SOME_FAILED = 1, 1, 2
_TRANSACTION_UID, _REFERENCED_SEQUENCE = 0x00081195, 0x00081199
_REFERENCED_CLASS_UID, _REFERENCED_UID = 0x00081150, 0x00081155


class ActionStatus(IntEnum):
    """What a request is answered with (PS3.7 section 10.1.4.1.10)."""

    #: Noted on disk; the answer to it comes later.
    SUCCESS = 0x0000
    #: The request cannot be noted on disk; send it again.
    PROCESSING_FAILURE = 0x0110
    #: A UID is missing or none, or nothing is referenced.
    INVALID_ARGUMENT = 0x0115
    NO_SUCH_INSTANCE = 0x0112
    NO_SUCH_ACTION = 0x0123
    #: Nobody knows where the answer should go: the requester is not among the configured peers.
    NOT_AUTHORISED = 0x0124
    #: Too many references, or too many requests that wait for their answer.
    RESOURCE_LIMITATION = 0x0213


class FailureReason(IntEnum):
    """Why an object is not committed (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119


class RequestRefused(DicomIoError):
    """A request for storage commitment is not taken.

    Parameters
    ----------
    status : ActionStatus
        What to answer.
    """

    def __init__(self, status: ActionStatus) -> None:
        super().__init__(f"The request for storage commitment is refused: {status.name}.")
        self.status = status


class NotTaken(DicomIoError):
    """The requester does not take the answer to its request for storage commitment."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that is asked about."""

    sop_class_uid: str
    sop_uid: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that is not committed, and why."""

    reference: Reference
    reason: FailureReason


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What a peer asks to be committed."""

    transaction_uid: str
    calling_aet: str
    #: Each once.
    references: tuple[Reference, ...]


class Commitments(Protocol):
    """Where requests go."""

    def note(self, request: CommitmentRequest) -> None:
        """Make a request durable; it is answered with success after this call. Raises RequestRefused."""


class CommitmentService:
    """The listener's side.

    Parameters
    ----------
    commitments : Commitments
        Where requests go.
    on_refused : callable
        Told the association and the status of a request that is not taken.
    """

    def __init__(self, commitments: Commitments, on_refused: Callable[[Association, ActionStatus], None]) -> None:
        self._commitments = commitments
        self._on_refused = on_refused

    def on_action(self, event: Event) -> tuple[int, None]:
        """Handle EVT_N_ACTION: success says that the request is noted, and nothing of the objects."""
        try:
            self._commitments.note(_request_of(event))
        except RequestRefused as refused:
            self._on_refused(event.assoc, refused.status)
            return int(refused.status), None
        return int(ActionStatus.SUCCESS), None


def report(
    peer: Peer, caller: Caller, transaction_uid: str, committed: Sequence[Reference], failed: Sequence[Failure]
) -> None:
    """Answer a request (N-EVENT-REPORT) over an association of our own, in which we are the SCP (PS3.4 J.3.3).

    Parameters
    ----------
    peer : Peer
        Who asked.
    caller : Caller
        Who answers.
    transaction_uid : str
        Of the request.
    committed : sequence of Reference
        What is safe here.
    failed : sequence of Failure
        What is not.

    Raises
    ------
    CannotConnect, PeerRefused, AssociationLost
        If there is no association, or no answer over it.
    NotTaken
        If the peer does not take the answer.
    """
    context = build_context(STORAGE_COMMITMENT_UID, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
    role = build_role(STORAGE_COMMITMENT_UID, scu_role=False, scp_role=True)
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    # Each only where it has an item (PS3.4 Table J.3-2).
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
            # pynetdicom's word for "no association any more".
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
