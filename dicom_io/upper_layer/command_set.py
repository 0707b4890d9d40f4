"""The command set of a message (PS3.7 section 6.3.1 and annex E), reduced to the elements that are used.

pynetdicom ends the association at an element that breaks the standard, even one that nothing reads. So it is only given
the elements by which it dispatches and answers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicom_io.reasons import Reason
from dicom_io.upper_layer.violation import AbortReason, Violation

_COMMAND_FIELD, _PRIORITY, _DATA_SET_TYPE = 0x0100, 0x0700, 0x0800
#: Message ID, Message ID Being Responded To, Status, Event Type ID, Action Type ID.
_SHORTS = frozenset({_COMMAND_FIELD, _DATA_SET_TYPE, 0x0110, 0x0120, 0x0900, 0x1002, 0x1008})
#: Affected and Requested SOP Class and Instance UID.
_UIDS = frozenset({0x0002, 0x0003, 0x1000, 0x1001})
_MEDIUM = b"\0\0"
_NO_DATA_SET = 0x0101
_RESPONSE = 0x8000
_CANCEL = 0x0FFF
#: Command Field (0000,0100), PS3.7 annex E.1, without the bit of responses.
_COMMANDS = frozenset({0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150})


@dataclass(frozen=True, slots=True)
class Command:
    """A complete command set.

    Attributes
    ----------
    is_request : bool
        Whether it is answered: neither a response nor a C-CANCEL.
    has_data_set : bool
        Whether a data set follows.
    encoded : bytes
        The elements that are used, Implicit VR Little Endian. Priority is always MEDIUM: it is mandatory, and nothing
        here uses it.
    elements : dict of int to bytes
        The values of these elements.
    """

    is_request: bool
    has_data_set: bool
    encoded: bytes
    elements: dict[int, bytes]


def read_command(data: bytes) -> Command:
    """Read a command set.

    Parameters
    ----------
    data : bytes
        Implicit VR Little Endian, group 0000 alone.

    Raises
    ------
    Violation
        If the elements cannot be told apart, one occurs twice, or Command Field or Command Data Set Type is missing or
        unknown.
    """
    found = _elements(data)
    command_field, data_set_type = (_short(found, number) for number in (_COMMAND_FIELD, _DATA_SET_TYPE))
    if command_field & ~_RESPONSE not in _COMMANDS and command_field != _CANCEL:
        raise _broken()
    usable = {number: value for number, value in found.items() if number in _SHORTS and len(value) == 2}
    usable |= {number: _padded(value.strip(b" \0")) for number, value in found.items() if number in _UIDS}
    is_request = not command_field & _RESPONSE and command_field != _CANCEL
    if is_request:
        usable[_PRIORITY] = _MEDIUM
    encoded = b"".join(
        struct.pack("<HHL", 0, number, len(usable[number])) + usable[number] for number in sorted(usable)
    )
    return Command(is_request, data_set_type != _NO_DATA_SET, encoded, usable)


def _elements(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset < len(data):
        if len(data) - offset < 8:
            raise _broken()
        group, number, length = struct.unpack_from("<HHL", data, offset)
        offset += 8
        if group or number in found or length > len(data) - offset:
            raise _broken()
        found[number] = data[offset : offset + length]
        offset += length
    return found


def _short(found: dict[int, bytes], number: int) -> int:
    value = found.get(number, b"")
    if len(value) != 2:
        raise _broken()
    return int.from_bytes(value, "little")


def _padded(uid: bytes) -> bytes:
    return uid + b"\0" * (len(uid) % 2)


def _broken() -> Violation:
    return Violation(Reason.PROTOCOL_ERROR, AbortReason.INVALID_PARAMETER)
