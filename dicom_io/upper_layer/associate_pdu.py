"""The content of A-ASSOCIATE PDUs (PS3.8 sections 9.3.2 and 9.3.3), read byte by byte and only as far as it is used.

pynetdicom decodes every item and ends the association at content that the standard wants ignored: unknown items and
sub-items (PS3.8 annex D), reserved fields, titles that are not ASCII, names that are too long. Here an unknown item is
skipped. One that cannot be skipped, because its length leads out of the PDU, is an error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pydicom.uid import ImplicitVRLittleEndian

from dicom_io.header.elements import valid_uid
from dicom_io.reasons import Reason
from dicom_io.upper_layer.violation import AbortReason, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

_APPLICATION_CONTEXT_NAME = b"1.2.840.10008.3.1.1.1"
#: Bytes before the items: protocol version, titles and reserved bytes.
_FIXED_BYTES = 68
#: Both titles and the reserved bytes, counted from the start of the body: an acceptance returns them unchanged.
RETURNED = slice(4, _FIXED_BYTES)
#: pynetdicom's default, for a peer that states no limit or one that is too small for any message.
_USUAL_MAX_LENGTH = 16384
#: A presentation data value with one byte: length, context and control before it.
_SHORTEST_DATA = 7
_APPLICATION_CONTEXT, _PROPOSED, _ANSWERED, _USER = 0x10, 0x20, 0x21, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_MAX_LENGTH, _CLASS_UID, _ROLE, _VERSION_NAME, _USER_IDENTITY = 0x51, 0x52, 0x54, 0x55, 0x58
#: Results of a presentation context (PS3.8 Table 9-18).
_RESULTS, _REFUSED_BY_PROVIDER = range(5), 2
_PADDING = b" \0"
#: Longer requests are read each time.
_MAX_REMEMBERED_BYTES = 1 << 15

_Items = list[tuple[int, bytes]]


class Titles(NamedTuple):
    """The AE titles of a request as bytes, without their padding of spaces or NUL."""

    calling: bytes = b""
    called: bytes = b""


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A proposed presentation context; an invalid abstract syntax is "", invalid transfer syntaxes are left out."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class ProposedRole(NamedTuple):
    """A SOP class, and whether the peer wants to be its SCU and its SCP."""

    sop_class_uid: str
    is_scu: bool
    is_scp: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    """The content of an A-ASSOCIATE-RQ.

    Attributes
    ----------
    is_our_version : bool
        Whether bit 0 of the protocol version is set; no other bit is tested (PS3.8 Table 9-11).
    contexts : tuple of ProposedContext
        One for each id. Of several with the same id the last counts, because an answer only names the id.
    max_length : int
        Bytes of a P-DATA-TF that the peer accepts; 0 for any number.
    asks_for_user : bool
        Whether the peer requests user identity negotiation, in any form.
    roles : tuple of ProposedRole
        The roles that the peer wants for itself (PS3.7 D.3.3.4).
    """

    is_our_version: bool
    contexts: tuple[ProposedContext, ...]
    max_length: int
    asks_for_user: bool
    roles: tuple[ProposedRole, ...] = ()


def titles_of(body: bytes) -> Titles:
    """Return the titles of an A-ASSOCIATE-RQ.

    Parameters
    ----------
    body : bytes
        The bytes after the PDU's length, or the beginning of them.
    """
    return Titles(calling=body[20:36].strip(_PADDING), called=body[4:20].strip(_PADDING))


def read_proposal(body: bytes) -> Proposal:
    """Read an A-ASSOCIATE-RQ.

    Parameters
    ----------
    body : bytes
        The bytes after the PDU's length.

    Raises
    ------
    Violation
        If it is too short, or an item does not fit in what holds it.
    """
    if len(body) < _FIXED_BYTES:
        raise _broken()
    items = body[_FIXED_BYTES:]
    read = _proposed_by if len(items) <= _MAX_REMEMBERED_BYTES else _proposed_by.__wrapped__
    contexts, max_length, asks_for_user, roles = read(items)
    return Proposal(bool(body[1] & 1), contexts, max_length, asks_for_user, roles)


@lru_cache(maxsize=64)
def _proposed_by(encoded: bytes) -> tuple[tuple[ProposedContext, ...], int, bool, tuple[ProposedRole, ...]]:
    """What the items of a request say; most peers say the same each time."""
    items = list(_items(encoded))
    user = _user_items(items)
    contexts: dict[int, ProposedContext] = {}
    for kind, value in items:
        if kind == _PROPOSED and value:
            contexts[value[0]] = _proposed(value)
    asks_for_user = any(kind == _USER_IDENTITY for kind, _ in user)
    roles = (_role(value) for kind, value in user if kind == _ROLE)
    return tuple(contexts.values()), _max_length(user), asks_for_user, tuple(role for role in roles if role)


def readable_acceptance(body: bytes) -> bytes:
    """Return an A-ASSOCIATE-AC reduced to the items that we use, in a form that pynetdicom can read.

    Parameters
    ----------
    body : bytes
        The bytes after the PDU's length.

    Raises
    ------
    Violation
        As `read_proposal`.
    """
    items = _items_of(body)
    # We only propose odd ids.
    answers = (value for kind, value in items if kind == _ANSWERED and len(value) >= 3 and value[0] % 2)
    contexts = b"".join(map(_readable_answer, answers))
    user = _user_items(items)
    known = b"".join(_readable_user_item(kind, value) for kind, value in user)
    max_length = _item(_MAX_LENGTH, struct.pack(">L", _max_length(user)))
    context_name = _item(_APPLICATION_CONTEXT, _APPLICATION_CONTEXT_NAME)
    return body[:_FIXED_BYTES] + context_name + contexts + _item(_USER, max_length + known)


def _items_of(body: bytes) -> _Items:
    if len(body) < _FIXED_BYTES:
        raise _broken()
    return list(_items(body[_FIXED_BYTES:]))


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each item; trailing bytes shorter than an item's head are padding."""
    offset = 0
    while len(data) - offset >= 4:
        kind, length = struct.unpack_from(">BxH", data, offset)
        offset += 4
        if length > len(data) - offset:
            raise _broken()
        yield kind, data[offset : offset + length]
        offset += length


def _user_items(items: _Items) -> _Items:
    return [one for kind, value in items if kind == _USER for one in _items(value)]


def _proposed(value: bytes) -> ProposedContext:
    abstract, syntaxes = "", []
    for kind, one in _items(value[4:]):
        if kind == _ABSTRACT_SYNTAX:
            abstract = _uid(one)
        elif kind == _TRANSFER_SYNTAX:
            syntaxes.append(_uid(one))
    return ProposedContext(value[0], abstract, tuple(dict.fromkeys(filter(None, syntaxes))))


def _max_length(user: _Items) -> int:
    stated = (int.from_bytes(value) for kind, value in user if kind == _MAX_LENGTH and len(value) == 4)
    length = next(stated, _USUAL_MAX_LENGTH)
    return _USUAL_MAX_LENGTH if 0 < length < _SHORTEST_DATA else length


def _uid(value: bytes) -> str:
    text = value.strip(_PADDING).decode("latin-1")
    return text if valid_uid(text) else ""


def _readable_answer(value: bytes) -> bytes:
    syntax = next((_uid(one) for kind, one in _items(value[4:]) if kind == _TRANSFER_SYNTAX), "")
    # Only an accepted context needs its transfer syntax; without one it counts as rejected.
    result = value[2] if value[2] in _RESULTS and (syntax or value[2]) else _REFUSED_BY_PROVIDER
    name = (syntax or str(ImplicitVRLittleEndian)).encode()
    return _item(_ANSWERED, bytes((value[0], 0, result, 0)) + _item(_TRANSFER_SYNTAX, name))


def _readable_user_item(kind: int, value: bytes) -> bytes:
    if kind == _CLASS_UID and (uid := _uid(value)):
        return _item(kind, uid.encode())
    if kind == _VERSION_NAME and (name := value.strip(_PADDING)[:16]):
        return _item(kind, bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in name))
    return _readable_role(value) if kind == _ROLE else b""


def _role(value: bytes) -> ProposedRole | None:
    """A role selection (PS3.7 Table D.3-9): the UID's length, the UID, whether the requestor may be SCU and SCP."""
    end = 2 + int.from_bytes(value[:2])
    uid, roles = _uid(value[2:end]), value[end : end + 2]
    if not uid or len(roles) < 2:
        return None
    return ProposedRole(uid, bool(roles[0] & 1), bool(roles[1] & 1))


def _readable_role(value: bytes) -> bytes:
    role = _role(value)
    if role is None:
        return b""
    uid = role.sop_class_uid
    return _item(_ROLE, struct.pack(">H", len(uid)) + uid.encode() + bytes((role.is_scu, role.is_scp)))


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _broken() -> Violation:
    return Violation(Reason.PROTOCOL_ERROR, AbortReason.INVALID_PARAMETER)
