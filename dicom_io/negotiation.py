"""Which presentation contexts the listener accepts: every storage class, in the transfer syntax we decode best.

The answer is made from what the peer proposes. The two ways pynetdicom offers do not fit: a table of all storage
classes times all transfer syntaxes is copied for each association (89 ms for 170 x 39) and knows no private class; its
unrestricted mode takes the first transfer syntax proposed, decodable or not. Both fail on a context without any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import NonPatientObjectStorageServiceClass, StorageServiceClass
from pynetdicom.sop_class import Verification, uid_to_service_class  # type: ignore[attr-defined]

from dicom_io.elements import valid_uid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicom_io.associate import ProposedContext

STORAGE_COMMITMENT_UID = "1.2.840.10008.1.20.1"
#: Storage Service Class (PS3.4 annex B).
STORAGE_SERVICE_UID = "1.2.840.10008.4.2"

#: Best first: nothing to decode, lossless, lossy. What is not here (video, JPEG XL, private) is taken last, as
#: proposed: the object is kept and ends with a coded reason, and its study is not held up at the sender.
PREFERRED_TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, selection value 1
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.8.1",  # Deflated Image Frame Compression
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.4.53",  # JPEG, retired processes 6 and 8
    "1.2.840.10008.1.2.4.55",  # JPEG, retired processes 10 and 12
)
_RANK = {uid: rank for rank, uid in enumerate(PREFERRED_TRANSFER_SYNTAXES)}
#: Results of a presentation context (PS3.8 Table 9-18).
_ACCEPTED, _NO_ABSTRACT_SYNTAX, _NO_TRANSFER_SYNTAX = 0, 3, 4
_OTHER_SERVICES = (Verification, STORAGE_COMMITMENT_UID)
# Named "... Storage ...", but no service that stores objects by C-STORE.
_NOT_STORAGE = ("Storage Commitment", "Storage Management", "Media Storage")


def is_storage(sop_class_uid: str) -> bool:
    """Whether objects of a class may be sent to us: every storage class, every private one, every one unknown.

    Parameters
    ----------
    sop_class_uid : str
        An abstract syntax.

    Returns
    -------
    bool
        False for what belongs to another service (query/retrieve, worklist, print, ...) and for what is no UID.
    """
    if not valid_uid(sop_class_uid):
        return False
    service = uid_to_service_class(sop_class_uid)
    if issubclass(service, StorageServiceClass | NonPatientObjectStorageServiceClass):
        return True
    # Retired classes and ones newer than pynetdicom's tables: the name of a storage class says so. Private and unknown
    # ones have no name but the UID itself.
    name = UID(sop_class_uid).name
    return name == sop_class_uid or ("Storage" in name and not name.startswith(_NOT_STORAGE))


def by_preference(transfer_syntaxes: Iterable[str]) -> list[str]:
    """Sort transfer syntaxes by how well we decode them; those we cannot decode come last, in the given order."""
    return sorted(transfer_syntaxes, key=lambda uid: _RANK.get(uid, len(_RANK)))


def answer_to(proposed: Iterable[ProposedContext]) -> list[PresentationContext]:
    """Answer the presentation contexts of one association.

    Parameters
    ----------
    proposed : iterable of ProposedContext
        What the peer proposes (PS3.8 section 9.3.2.2).

    Returns
    -------
    list of PresentationContext
        One for each, with its result (PS3.8 Table 9-18): accepted with the transfer syntax of those proposed that is
        decoded best, or refused for its abstract syntax (3) or its transfer syntaxes (4).
    """
    return [_answer(context) for context in proposed]


def storage_services(accepted: Iterable[PresentationContext]) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    """Return which service serves which class, for pynetdicom to dispatch a request by (PS3.7 D.3.3.6).

    It knows the service of public classes only and aborts on a C-STORE of any other; nothing of this is sent.
    """
    return {
        cast("UID", context.abstract_syntax): _storage_service(str(context.abstract_syntax))
        for context in accepted
        if context.abstract_syntax not in _OTHER_SERVICES
    }


def _answer(proposed: ProposedContext) -> PresentationContext:
    context = PresentationContext()
    # Not by the setter, which refuses the even ids that some peers count with.
    context._context_id = proposed.context_id
    syntaxes = by_preference(proposed.transfer_syntaxes)
    # A refusal names a transfer syntax too, which is not looked at.
    context.add_transfer_syntax(syntaxes[0] if syntaxes else ImplicitVRLittleEndian)
    if proposed.abstract_syntax in _OTHER_SERVICES or is_storage(proposed.abstract_syntax):
        context.abstract_syntax = UID(proposed.abstract_syntax)
        context.result = _ACCEPTED if syntaxes else _NO_TRANSFER_SYNTAX
    else:
        context.result = _NO_ABSTRACT_SYNTAX
    context._as_scu, context._as_scp = False, context.result == _ACCEPTED
    return context


def _storage_service(sop_class_uid: str) -> SOPClassCommonExtendedNegotiation:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid = UID(sop_class_uid)
    item.service_class_uid = UID(STORAGE_SERVICE_UID)
    return item
