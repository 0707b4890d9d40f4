"""C-MOVE and C-GET from a PACS (PS3.4 annex C, Study Root): one study at a time.

C-MOVE makes the PACS send the study to a listener over a new association; C-GET retrieves it over ours, with the same
checks for each object as at the listener: success is only sent when the object is durable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role, evt

from dicom_io.client.association import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    AssociationLost,
    Caller,
    association,
)
from dicom_io.client.outgoing import MAX_CONTEXTS
from dicom_io.header.file_meta import Sender
from dicom_io.inbox.receive import ObjectRefused, incoming_of, receive
from dicom_io.inbox.status import StoreStatus
from dicom_io.network.connection import certificate_of
from dicom_io.upper_layer.negotiation import PREFERRED_TRANSFER_SYNTAXES, is_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pynetdicom.events import Event
    from pynetdicom.presentation import PresentationContext

    from dicom_io.client.peer import Peer
    from dicom_io.inbox.spool import Spool

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
#: Proposed for C-GET where the PACS does not name the classes of a study; radiographs first.
COMMON_SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.6.1",  # Ultrasound
    "1.2.840.10008.5.1.4.1.1.1.2",  # Mammography, for presentation
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
    "1.2.840.10008.5.1.4.1.1.88.67",  # X-Ray Radiation Dose SR
    "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
)
_UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
CANCELLED = 0xFE00
_SUCCESS, _WARNING, _PENDING = 0x0000, 0xB000, (0xFF00, 0xFF01)
_NOT_SUPPORTED = 0x0122
#: The meaning of a final status, and what to do about it (PS3.4 Tables C.4-2 and C.4-3).
SENTENCES = {
    _SUCCESS: "The PACS has sent everything.",
    _WARNING: "The PACS could not send every object.",
    CANCELLED: "The retrieval was cancelled.",
    _NOT_SUPPORTED: "The PACS does not offer this way of retrieval to us: try the other --method.",
    0x0124: "The PACS does not allow it to us: our AE title lacks the right there.",
    0xA701: "The PACS is out of resources (cannot count the matches): try again later.",
    0xA702: "The PACS cannot send: it does not reach the destination, which may refuse it, or lacks resources.",
    0xA801: (
        "The PACS does not know the move destination: enter our AE title with this machine's address and port there, "
        "name one it knows by --destination, or use --method get."
    ),
    0xC000: (
        "The PACS could not process the request, its log says why. Orthanc answers so where it does not know the move "
        "destination or does not reach it: check its entry for our AE title, or use --method get."
    ),
    0xA900: "The PACS does not accept the request for this study (identifier does not match).",
}


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The final response of the PACS for one study."""

    #: Status of the response.
    status: int
    #: Objects sent, including those with a warning.
    sent: int
    failed: int

    @property
    def is_refused(self) -> bool:
        """Whether the PACS refused the retrieval."""
        return self.status not in (_SUCCESS, _WARNING)

    @property
    def sentence(self) -> str:
        """What happened and what to do about it."""
        return SENTENCES.get(self.status, f"The PACS could not process the request: status 0x{self.status:04X}.")


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The PACS to retrieve from, and ourselves."""

    peer: Peer
    caller: Caller


def move_study(by: Retrieval, study_uid: str, destination: str) -> Retrieved:
    """Make the PACS send a study to a destination it knows (C-MOVE).

    Parameters
    ----------
    by : Retrieval
        The PACS and us.
    study_uid : str
        The study.
    destination : str
        AE title of the listener to receive it.

    Returns
    -------
    Retrieved
        The final response.

    Raises
    ------
    CannotConnect, PeerRefused
        As `dicom_io.client.association.association`.
    AssociationLost
        If the association ended before the final response.
    """
    context = build_context(STUDY_ROOT_MOVE, list(_UNCOMPRESSED))
    with association(by.peer, [context], by.caller) as opened:
        if not opened.is_established:
            return Retrieved(_NOT_SUPPORTED, 0, 0)
        try:
            return _read(opened.send_c_move(_study(study_uid), destination, STUDY_ROOT_MOVE))
        except KeyboardInterrupt:
            opened.send_c_cancel(1, query_model=STUDY_ROOT_MOVE)
            raise
        except RuntimeError as exc:
            # pynetdicom raises this where the association has ended.
            raise AssociationLost from exc


def get_study(by: Retrieval, study_uid: str, sop_classes: Iterable[str], spool: Spool) -> Retrieved:
    """Get a study over this association (C-GET), each object into the spool.

    Parameters
    ----------
    by : Retrieval
        The PACS and us.
    study_uid : str
        The study.
    sop_classes : iterable of str
        The classes in the study; if empty, `COMMON_SOP_CLASSES` are proposed.
    spool : Spool
        Receives the objects.

    Returns
    -------
    Retrieved
        The final response.

    Raises
    ------
    CannotConnect, PeerRefused
        As `dicom_io.client.association.association`.
    AssociationLost
        If the association ended before the final response.
    """
    known = tuple(dict.fromkeys(uid for uid in sop_classes if is_storage(uid))) or COMMON_SOP_CLASSES
    contexts = [build_context(STUDY_ROOT_GET, list(_UNCOMPRESSED)), *islice(_contexts(known), MAX_CONTEXTS - 1)]
    roles = [build_role(uid, scp_role=True) for uid in dict.fromkeys(str(c.abstract_syntax) for c in contexts[1:])]
    handler = _StoreHandler(spool, Sender(by.peer.aet, by.caller.aet, by.peer.host))
    handlers = [(evt.EVT_C_STORE, handler.on_store)]
    with association(by.peer, contexts, by.caller, roles=roles, handlers=handlers) as opened:
        if not opened.is_established or contexts[0].abstract_syntax not in _accepted(opened.accepted_contexts):
            return Retrieved(_NOT_SUPPORTED, 0, 0)
        try:
            return _read(opened.send_c_get(_study(study_uid), STUDY_ROOT_GET))
        except KeyboardInterrupt:
            opened.send_c_cancel(1, query_model=STUDY_ROOT_GET)
            raise
        except RuntimeError as exc:
            # pynetdicom raises this where the association has ended.
            raise AssociationLost from exc


def _accepted(contexts: Iterable[PresentationContext]) -> set[object]:
    return {context.abstract_syntax for context in contexts}


def _contexts(sop_classes: tuple[str, ...]) -> Iterator[PresentationContext]:
    """Yield each class uncompressed, then with each compression: a PACS picks one syntax of a context and may not decode."""
    for uid in sop_classes:
        yield build_context(uid, list(_UNCOMPRESSED))
    for uid in sop_classes:
        for syntax in PREFERRED_TRANSFER_SYNTAXES:
            if syntax not in _UNCOMPRESSED:
                yield build_context(uid, syntax)


def _study(study_uid: str) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel, ds.StudyInstanceUID = "STUDY", study_uid
    return ds


def _read(responses: Iterable[tuple[Dataset, Dataset | None]]) -> Retrieved:
    for status, _ in responses:
        code = status.get("Status")
        sent, failed = (_count(status, *names) for names in (("Completed", "Warning"), ("Failed",)))
        if code is None:
            break
        if code not in _PENDING:
            return Retrieved(code, sent, failed)
    raise AssociationLost


def _count(status: Dataset, *kinds: str) -> int:
    return sum(int(status.get(f"NumberOf{kind}Suboperations") or 0) for kind in kinds)


class _StoreHandler:
    """Stores the objects of a C-GET as the listener stores pushed ones."""

    def __init__(self, spool: Spool, sender: Sender) -> None:
        self._spool = spool
        self._sender = sender

    def on_store(self, event: Event) -> Dataset:
        """Handle EVT_C_STORE; success means that the object is durable."""
        try:
            receive(incoming_of(event), self._sender_of(event), self._spool, self._sender.called_aet)
        except ObjectRefused as refusal:
            return refusal.status.as_dataset()
        return StoreStatus.SUCCESS.as_dataset()

    def _sender_of(self, event: Event) -> Sender:
        """The PACS, with the certificate that it has shown."""
        transport = event.assoc.dul.socket
        return replace(self._sender, certificate=certificate_of(transport.socket if transport else None))
