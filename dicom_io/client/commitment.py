"""Storage Commitment Push Model as SCU (PS3.4 annex J): ask whether objects are safe, and read the answer.

The answer may come over the same association, or over one that the peer opens to our listener.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from dicom_io.errors import DicomIoError
from dicom_io.header.elements import Elements, valid_uid
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pynetdicom.association import Association
    from pynetdicom.events import Event

#: The well-known instance that requests and answers name (PS3.4 J.3.5).
STORAGE_COMMITMENT_INSTANCE_UID = "1.2.840.10008.1.20.1.1"
_REQUEST, _ALL_COMMITTED, _SOME_FAILED = 1, 1, 2
_TRANSACTION_UID, _REFERENCED_SEQUENCE, _FAILED_SEQUENCE = 0x00081195, 0x00081199, 0x00081198
_REFERENCED_UID = 0x00081155
#: Most objects of one answer that are read; a result has three.
_MAX_REFERENCES = 1_000


class ReportUnreadable(DicomIoError):
    """The answer to a request for storage commitment lacks its transaction or names no object."""


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """The answer to a request for storage commitment.

    Attributes
    ----------
    transaction_uid : str
        Of the request.
    committed, failed : frozenset of str
        SOP Instance UIDs of the objects that the peer keeps, and that it does not.
    """

    transaction_uid: str
    committed: frozenset[str]
    failed: frozenset[str]

    def covers(self, sop_uids: Iterable[str]) -> bool:
        """Whether the peer commits itself to each of these objects, and refuses none that was asked for."""
        return not self.failed and self.committed.issuperset(sop_uids)


def ask_for_commitment(opened: Association, transaction_uid: str, objects: Iterable[tuple[str, str]]) -> bool:
    """Ask a peer whether objects are safe (N-ACTION).

    Parameters
    ----------
    opened : Association
        With an accepted presentation context of the Storage Commitment Push Model.
    transaction_uid : str
        Names the request.
    objects : iterable of tuple of str
        SOP Class UID and SOP Instance UID of each.

    Returns
    -------
    bool
        Whether the peer has accepted the request; False also where the association ended meanwhile.
    """
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [_item(*each) for each in objects]
    try:
        status, _ = opened.send_n_action(ds, _REQUEST, STORAGE_COMMITMENT_UID, STORAGE_COMMITMENT_INSTANCE_UID)
    except (RuntimeError, ValueError):
        # pynetdicom raises these where the association has ended or the context is not accepted.
        return False
    return bool(status.get("Status") == 0)


def read_report(event: Event) -> CommitmentReport:
    """Read the answer in an EVT_N_EVENT_REPORT; raises `ReportUnreadable`."""
    try:
        elements = Elements(event.event_information)
    except AttributeError:
        # pynetdicom raises this where there is no data set.
        raise ReportUnreadable from None
    transaction_uid = elements.uid(_TRANSACTION_UID)
    committed, failed = (
        frozenset(item.uid(_REFERENCED_UID) for item in elements.items(tag, _MAX_REFERENCES))
        for tag in (_REFERENCED_SEQUENCE, _FAILED_SEQUENCE)
    )
    is_known = event.event_type in (_ALL_COMMITTED, _SOME_FAILED)
    if not is_known or not valid_uid(transaction_uid) or not (committed or failed):
        raise ReportUnreadable
    return CommitmentReport(transaction_uid, committed, failed)


def _item(sop_class_uid: str, sop_uid: str) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = sop_class_uid, sop_uid
    return ds
