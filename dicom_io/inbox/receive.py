"""Step 1 of the flow, second half: a received object is checked and put into the spool.

These are functions of bytes, without associations. The header is only parsed as far as the four UIDs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from dicom_io.errors import DicomIoError, HeaderUnreadable, SpoolError, SpoolFull
from dicom_io.header.elements import valid_uid
from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.header.part10 import data_set_offset
from dicom_io.header.reader import identify
from dicom_io.inbox.status import StoreStatus

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

    from dicom_io.header.facts import Identity
    from dicom_io.inbox.spool import Spool
    from dicom_io.inbox.water_mark import Backlog, WaterMark


@dataclass(frozen=True, slots=True)
class Incoming:
    """A C-STORE request as received (PS3.7 section 9.1.1)."""

    #: The bytes of the data set, unchanged.
    data: bytes
    #: Affected SOP Class and Instance UID of the command, and transfer syntax of the presentation context.
    uids: ObjectUids
    #: Abstract syntax of the presentation context; it must be the SOP class of the command.
    abstract_syntax: str


@dataclass(frozen=True, slots=True)
class ReceivedObject:
    """An object that is durable in the spool."""

    key: str
    identity: Identity
    #: Number of bytes before the data set that are not stored, see `dicom_io.header.part10.data_set_offset`.
    left_out: int


class ObjectRefused(DicomIoError):
    """The object is refused.

    Parameters
    ----------
    status : StoreStatus
        The status to answer with.
    identity : Identity, optional
        The UIDs of the header, as far as it could be read; not checked.
    """

    def __init__(self, status: StoreStatus, identity: Identity | None = None) -> None:
        super().__init__(status.sentence)
        self.status = status
        self.identity = identity


def receive(
    incoming: Incoming, sender: Sender, spool: Spool, ae_title: str, *bounds: WaterMark | Backlog
) -> ReceivedObject:
    """Check an object and put it into the spool.

    Parameters
    ----------
    incoming : Incoming
        The request.
    sender : Sender
        The sender; written into the file meta information.
    spool : Spool
        Receives the object.
    ae_title : str
        Our AE title.
    *bounds : WaterMark or Backlog
        Beyond them nothing is accepted.

    Returns
    -------
    ReceivedObject
        The object, which is durable: the request can be answered with success.

    Raises
    ------
    ObjectRefused
        With the status to answer with. Nothing of the object is kept.
    """
    incoming, identity, left_out = checked(incoming)
    try:
        for bound in bounds:
            bound.check()
        key = spool.put((encode_file_meta(incoming.uids, sender, ae_title), incoming.data))
    except SpoolError as exc:
        raise refusal_of(exc, identity) from exc
    return ReceivedObject(key, identity, left_out)


def checked(incoming: Incoming) -> tuple[Incoming, Identity, int]:
    """Check a whole object.

    Returns
    -------
    tuple of Incoming, Identity and int
        The object without what came before its data set, its UIDs, and the length of what came before.

    Raises
    ------
    ObjectRefused
        If the header cannot be parsed, a UID is missing or invalid, or command and data set name different objects.
    """
    syntax = incoming.uids.transfer_syntax_uid
    try:
        left_out = data_set_offset(incoming.data, syntax)
        if left_out:
            incoming = replace(incoming, data=incoming.data[left_out:])
        identity = identify(incoming.data, syntax)
    except HeaderUnreadable as exc:
        raise ObjectRefused(StoreStatus.HEADER_UNREADABLE) from exc
    check_identity(identity, incoming)
    return incoming, identity, left_out


def check_identity(identity: Identity, incoming: Incoming) -> None:
    """Check the UIDs of an object's header.

    Raises
    ------
    ObjectRefused
        If one is missing or invalid, or command and data set name different objects.
    """
    checks = (
        (valid_uid(identity.study_uid), StoreStatus.INVALID_STUDY_UID),
        (valid_uid(identity.series_uid), StoreStatus.INVALID_SERIES_UID),
        (valid_uid(identity.sop_class_uid) and valid_uid(identity.sop_uid), StoreStatus.INVALID_SOP_UID),
        (identity.sop_uid == incoming.uids.sop_uid, StoreStatus.SOP_MISMATCH),
        (identity.sop_class_uid == incoming.uids.sop_class_uid == incoming.abstract_syntax, StoreStatus.SOP_MISMATCH),
    )
    for passed, status in checks:
        if not passed:
            raise ObjectRefused(status, identity)


def refusal_of(exc: SpoolError, identity: Identity | None) -> ObjectRefused:
    """Return the refusal of an object that the inbox does not take."""
    is_full = isinstance(exc, SpoolFull)
    return ObjectRefused(StoreStatus.OUT_OF_RESOURCES if is_full else StoreStatus.CANNOT_WRITE, identity)


def incoming_of(event: Event) -> Incoming:
    """Return the request of pynetdicom's EVT_C_STORE.

    Parameters
    ----------
    event : Event
        At the listener, or of a C-GET of ours.

    Returns
    -------
    Incoming
        The request. Its UIDs are stripped of NUL and of blanks, with which some senders pad them (against PS3.5
        section 9.1).
    """
    request, context = cast("C_STORE", event.request), event.context
    uids = ObjectUids(
        sop_class_uid=str(request.AffectedSOPClassUID).strip("\0 "),
        sop_uid=str(request.AffectedSOPInstanceUID).strip("\0 "),
        transfer_syntax_uid=str(context.transfer_syntax),
    )
    return Incoming(event.encoded_dataset(include_meta=False), uids, str(context.abstract_syntax))
