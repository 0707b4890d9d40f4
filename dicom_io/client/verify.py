"""Whether a port answers C-ECHO, asked by messages of fixed bytes: a check of every few seconds need not load pynetdicom.

`echo` asks by pynetdicom, and says which step failed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from dicom_io.errors import DicomIoError
from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID
from dicom_io.upper_layer.command_set import read_command

if TYPE_CHECKING:
    import socket

_RQ, _AC, _DATA, _RELEASE = 1, 2, 4, 5
#: What follows the heads of an A-ASSOCIATE: version, reserved, two AE titles, reserved (PS3.8 Table 9-11).
_HEAD = 2 + 2 + 16 + 16 + 32
_CONTEXT_RESULT, _ACCEPTED = 0x21, 0
_LAST_COMMAND = 3
_STATUS, _SUCCESS = 0x0900, b"\0\0"
#: The longest answer that is read: what we ask for, and more than any A-ASSOCIATE-AC to it has.
_LONGEST = 16_384


class _Item(NamedTuple):
    kind: int
    value: bytes


def verifies(link: socket.socket, called: str, calling: str) -> bool:
    """Ask a connected peer to verify (PS3.7 section 9.1.5).

    Parameters
    ----------
    link : socket.socket
        Connected, with a timeout; the caller closes it.
    called, calling : str
        The AE titles of the peer and of the caller.

    Returns
    -------
    bool
        Whether it accepted the association and answered with success. False also for a peer that closes the connection,
        is silent for longer than the timeout, or answers in no form of DICOM.
    """
    try:
        link.sendall(_pdu(_RQ, _request(called, calling)))
        kind, body = _read(link)
        if kind != _AC or not _is_accepted(body):
            return False
        link.sendall(_pdu(_DATA, _echo_request()))
        kind, body = _read(link)
        # A peer that answers has no more to say that matters here.
        link.sendall(_pdu(_RELEASE, bytes(4)))
        return kind == _DATA and read_command(body[6:]).elements.get(_STATUS) == _SUCCESS
    except (OSError, DicomIoError, struct.error):
        return False


def _request(called: str, calling: str) -> bytes:
    """The body of an A-ASSOCIATE-RQ for Verification in Implicit VR Little Endian."""
    context = b"\1\0\0\0" + _item(0x30, b"1.2.840.10008.1.1") + _item(0x40, b"1.2.840.10008.1.2")
    user = _item(0x51, struct.pack(">L", _LONGEST)) + _item(0x52, IMPLEMENTATION_CLASS_UID.encode("ascii"))
    titles = b"".join(title.encode("ascii").ljust(16) for title in (called, calling))
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return b"\0\1\0\0" + titles + bytes(32) + items


def _is_accepted(body: bytes) -> bool:
    items: list[_Item] = []
    offset = _HEAD
    while offset < len(body):
        kind, _, length = struct.unpack_from(">BBH", body, offset)
        items.append(_Item(kind, body[offset + 4 : offset + 4 + length]))
        offset += 4 + length
    return any(item.kind == _CONTEXT_RESULT and item.value[2:3] == bytes([_ACCEPTED]) for item in items)


def _echo_request() -> bytes:
    """The body of a P-DATA-TF with a C-ECHO-RQ (PS3.7 Table 9.3-12)."""
    elements = [
        (0x0002, b"1.2.840.10008.1.1\0"),
        (0x0100, struct.pack("<H", 0x0030)),
        (0x0110, struct.pack("<H", 1)),
        (0x0800, struct.pack("<H", 0x0101)),
    ]
    command = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    whole = struct.pack("<HHLL", 0, 0, 4, len(command)) + command
    return struct.pack(">LBB", len(whole) + 2, 1, _LAST_COMMAND) + whole


def _pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _read(link: socket.socket) -> tuple[int, bytes]:
    kind, _, length = struct.unpack(">BBL", _exactly(link, 6))
    if length > _LONGEST:
        raise DicomIoError
    return kind, _exactly(link, length)


def _exactly(link: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        part = link.recv(length - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return bytes(found)
