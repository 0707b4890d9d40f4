"""Which presentation contexts the listener accepts: every storage class, in the transfer syntax we decode best.

The answer is made from the proposal. Neither way that pynetdicom offers fits: its table of storage classes and transfer
syntaxes is copied for each association (89 ms for 170 x 39) and has no private classes; its unrestricted mode accepts
the first transfer syntax proposed, decodable or not. Both fail on a context without transfer syntaxes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import NonPatientObjectStorageServiceClass, StorageServiceClass
from pynetdicom.sop_class import Verification, uid_to_service_class  # type: ignore[attr-defined]

from dicom_io.header.elements import valid_uid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dicom_io.upper_layer.associate_pdu import ProposedContext

STORAGE_COMMITMENT_UID = "1.2.840.10008.1.20.1"
#: Storage Service Class (PS3.4 annex B).
STORAGE_SERVICE_UID = "1.2.840.10008.4.2"

#: Best first: uncompressed, lossless, lossy. Other syntaxes (video, JPEG XL, private) come last, in the order proposed:
#: their objects are stored and end with a coded reason, so the sender is not held up.
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
_RESULT_ITEM, _TRANSFER_SYNTAX_ITEM = 0x21, 0x40
_OTHER_SERVICES = (Verification, STORAGE_COMMITMENT_UID)
# Services with "Storage" in their name that do not store objects by C-STORE.
_NOT_STORAGE = ("Storage Commitment", "Storage Management", "Media Storage")


@dataclass(frozen=True, slots=True)
class Agreement:
    """The answer to the presentation contexts of an association; associations with equal proposals share it.

    Attributes
    ----------
    accepted : mapping of int to PresentationContext
        The accepted contexts by their ids.
    rejected : list of PresentationContext
        The others.
    services : mapping of UID to SOPClassCommonExtendedNegotiation
        Of the accepted contexts, as `storage_services` returns them.
    items : bytes
        All of them as items of an A-ASSOCIATE-AC (PS3.8 Table 9-18).
    """

    accepted: Mapping[int, PresentationContext]
    rejected: list[PresentationContext]
    services: dict[UID, SOPClassCommonExtendedNegotiation]
    items: bytes


@lru_cache(maxsize=64)
def agreement_on(proposed: tuple[ProposedContext, ...], *, storage_commitment: bool = False) -> Agreement:
    """Answer the presentation contexts of an association; as `answer_to`, whose work is done once for equal proposals."""
    answers = answer_to(proposed, storage_commitment=storage_commitment)
    accepted = {cast("int", one.context_id): one for one in answers if one.result == _ACCEPTED}
    rejected = [one for one in answers if one.result != _ACCEPTED]
    in_order = [accepted[number] for number in sorted(accepted)] + rejected
    return Agreement(accepted, rejected, storage_services(accepted.values()), b"".join(map(_encoded, in_order)))


def is_storage(sop_class_uid: str) -> bool:
    """Whether we accept objects of a class: every storage class, every private class and every unknown class.

    Parameters
    ----------
    sop_class_uid : str
        An abstract syntax.

    Returns
    -------
    bool
        False for classes of other services (query/retrieve, worklist, print, ...) and for an invalid UID.
    """
    if not valid_uid(sop_class_uid):
        return False
    service = uid_to_service_class(sop_class_uid)
    if issubclass(service, StorageServiceClass | NonPatientObjectStorageServiceClass):
        return True
    # Retired classes, and classes newer than pynetdicom's tables, have "Storage" in their name. The name of a private or
    # unknown class is the UID itself.
    name = UID(sop_class_uid).name
    return name == sop_class_uid or ("Storage" in name and not name.startswith(_NOT_STORAGE))


def by_preference(transfer_syntaxes: Iterable[str]) -> list[str]:
    """Sort transfer syntaxes by `PREFERRED_TRANSFER_SYNTAXES`; all others come last, in the given order."""
    return sorted(transfer_syntaxes, key=lambda uid: _RANK.get(uid, len(_RANK)))


def answer_to(proposed: Iterable[ProposedContext], *, storage_commitment: bool = False) -> list[PresentationContext]:
    """Answer the presentation contexts of one association.

    Parameters
    ----------
    proposed : iterable of ProposedContext
        The proposal of the peer (PS3.8 section 9.3.2.2).
    storage_commitment : bool, optional
        Whether Storage Commitment is offered.

    Returns
    -------
    list of PresentationContext
        One for each, with its result (PS3.8 Table 9-18): accepted (0) with the best of the proposed transfer syntaxes,
        or rejected for its abstract syntax (3) or its transfer syntaxes (4).
    """
    offered = _OTHER_SERVICES if storage_commitment else (Verification,)
    return [_answer(context, offered) for context in proposed]


def storage_services(accepted: Iterable[PresentationContext]) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    """Return the service class of each accepted class, by which pynetdicom dispatches requests (PS3.7 D.3.3.6).

    pynetdicom only knows the service of public classes and aborts on a C-STORE of any other. This is not sent.
    """
    return {
        cast("UID", context.abstract_syntax): _storage_service(str(context.abstract_syntax))
        for context in accepted
        if context.abstract_syntax not in _OTHER_SERVICES
    }


def _answer(proposed: ProposedContext, other_services: Collection[str]) -> PresentationContext:
    context = PresentationContext()
    # Not by the setter: it refuses even ids, which some peers use.
    context._context_id = proposed.context_id
    syntaxes = by_preference(proposed.transfer_syntaxes)
    # A rejected context has a transfer syntax too; the peer ignores it.
    context.add_transfer_syntax(syntaxes[0] if syntaxes else ImplicitVRLittleEndian)
    if proposed.abstract_syntax in other_services or is_storage(proposed.abstract_syntax):
        context.abstract_syntax = UID(proposed.abstract_syntax)
        context.result = _ACCEPTED if syntaxes else _NO_TRANSFER_SYNTAX
    else:
        context.result = _NO_ABSTRACT_SYNTAX
    context._as_scu, context._as_scp = False, context.result == _ACCEPTED
    return context


def _encoded(answer: PresentationContext) -> bytes:
    syntax = str(answer.transfer_syntax[0]).encode("ascii")
    head = struct.pack(">BxBx", cast("int", answer.context_id), cast("int", answer.result))
    value = head + struct.pack(">BxH", _TRANSFER_SYNTAX_ITEM, len(syntax)) + syntax
    return struct.pack(">BxH", _RESULT_ITEM, len(value)) + value


def _storage_service(sop_class_uid: str) -> SOPClassCommonExtendedNegotiation:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid = UID(sop_class_uid)
    item.service_class_uid = UID(STORAGE_SERVICE_UID)
    return item
