"""Step 1 of the flow, second half: one received object is checked at the door and put into the spool.

Plain functions of bytes: nothing here knows associations. The header is parsed up to the pixels only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from dicom_io.elements import valid_uid
from dicom_io.errors import DicomIoError, HeaderUnreadable, SpoolError, SpoolFull
from dicom_io.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.header import Identity, identify
from dicom_io.part10 import data_set_offset
from dicom_io.status import StoreStatus

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

    from dicom_io.spool import Spool


@dataclass(frozen=True, slots=True)
class Incoming:
    """A C-STORE request as it came (PS3.7 section 9.1.1)."""

    #: What came as the data set, untouched.
    data: bytes
    #: Affected SOP Class and Instance UID of the command, transfer syntax of the presentation context.
    uids: ObjectUids
    #: Of the presentation context; it must name the class that the command names.
    abstract_syntax: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is safe in the spool."""

    key: str
    identity: Identity
    #: How many bytes before the data set are not kept, see `dicom_io.part10.data_set_offset`.
    left_out: int


class ObjectRefused(DicomIoError):
    """The object is refused.

    Parameters
    ----------
    status : StoreStatus
        What to answer.
    identity : Identity, optional
        What the header said, as far as it could be read. Its UIDs are unchecked.
    """

    def __init__(self, status: StoreStatus, identity: Identity | None = None) -> None:
        super().__init__(status.sentence)
        self.status = status
        self.identity = identity


def receive(incoming: Incoming, sender: Sender, spool: Spool, ae_title: str) -> Stored:
    """Check an object and put it into the spool.

    Parameters
    ----------
    incoming : Incoming
        The request.
    sender : Sender
        Who sent it; written into the file meta information.
    spool : Spool
        Where it goes.
    ae_title : str
        Ours.

    Returns
    -------
    Stored
        It is durable now: the request may be answered with success.

    Raises
    ------
    ObjectRefused
        With the status to answer. Nothing of the object is kept.
    """
    try:
        left_out = data_set_offset(incoming.data, incoming.uids.transfer_syntax_uid)
    except HeaderUnreadable as exc:
        raise ObjectRefused(StoreStatus.HEADER_UNREADABLE) from exc
    if left_out:
        incoming = replace(incoming, data=incoming.data[left_out:])
    identity = checked_identity(incoming)
    try:
        key = spool.put((encode_file_meta(incoming.uids, sender, ae_title), incoming.data))
    except SpoolFull as exc:
        raise ObjectRefused(StoreStatus.OUT_OF_RESOURCES, identity) from exc
    except SpoolError as exc:
        raise ObjectRefused(StoreStatus.CANNOT_WRITE, identity) from exc
    return Stored(key, identity, left_out)


def checked_identity(incoming: Incoming) -> Identity:
    """Return who the object is, if it may be stored.

    Raises
    ------
    ObjectRefused
        If the header cannot be parsed, a UID is missing or is none, or the data set is not what the command says.
    """
    try:
        identity = identify(incoming.data, incoming.uids.transfer_syntax_uid)
    except HeaderUnreadable as exc:
        raise ObjectRefused(StoreStatus.HEADER_UNREADABLE) from exc
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
    return identity


def incoming_of(event: Event) -> Incoming:
    """Return the request of pynetdicom's EVT_C_STORE.

    Parameters
    ----------
    event : Event
        At the listener, or of a C-GET of ours.

    Returns
    -------
    Incoming
        The request with its UIDs stripped: they are padded with NUL, and by some senders with blanks, against PS3.5
        section 9.1.
    """
    request, context = cast("C_STORE", event.request), event.context
    uids = ObjectUids(
        sop_class_uid=str(request.AffectedSOPClassUID).strip("\0 "),
        sop_uid=str(request.AffectedSOPInstanceUID).strip("\0 "),
        transfer_syntax_uid=str(context.transfer_syntax),
    )
    return Incoming(event.encoded_dataset(include_meta=False), uids, str(context.abstract_syntax))
