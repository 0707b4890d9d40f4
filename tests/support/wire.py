"""The DICOM upper layer byte by byte (PS3.8 section 9.3), for peers that break its rules on purpose."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    UserIdentityNegotiation,
)
from pynetdicom.transport import AddressInformation

from tests.support.listening import LOCAL
from tests.support.objects import CR, EXPLICIT_LE, Made

if TYPE_CHECKING:
    from types import TracebackType

VERIFICATION, IMPLICIT_LE = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, LAST = 1, 2
STORE_CONTEXT, ECHO_CONTEXT = 1, 3


def request(
    calling: str = "RAW",
    called: str = "AUSCULT",
    contexts: tuple[tuple[str, str], ...] = ((CR, EXPLICIT_LE), (VERIFICATION, IMPLICIT_LE)),
    identity: UserIdentityNegotiation | None = None,
) -> bytes:
    """An A-ASSOCIATE-RQ; the contexts have the ids 1, 3, 5 and so on."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    primitive.calling_presentation_address = primitive.called_presentation_address = AddressInformation(LOCAL, 0)
    built = [build_context(*context) for context in contexts]
    for number, context in enumerate(built):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = built
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.3.4"
    primitive.user_information = [length, implementation, *([identity] if identity else [])]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def sub_item(kind: int, value: bytes, length: int | None = None) -> bytes:
    """An item or sub-item of an A-ASSOCIATE PDU; a length of its own may lie."""
    return struct.pack(">BxH", kind, len(value) if length is None else length) + value


APPLICATION = sub_item(0x10, b"1.2.840.10008.3.1.1.1")
MAX_LENGTH, CLASS_UID = sub_item(0x51, struct.pack(">L", 16384)), sub_item(0x52, b"1.2.3.4")


def context(context_id: int, abstract: bytes = CR.encode(), *syntaxes: bytes, extra: bytes = b"") -> bytes:
    """A presentation context of an A-ASSOCIATE-RQ."""
    inner = sub_item(0x30, abstract) + b"".join(sub_item(0x40, syntax) for syntax in syntaxes)
    return sub_item(0x20, bytes((context_id, 0, 0, 0)) + extra + inner)


FILMS = context(STORE_CONTEXT, CR.encode(), EXPLICIT_LE.encode())


def raw_request(
    items: bytes = APPLICATION + FILMS + sub_item(0x50, MAX_LENGTH + CLASS_UID),
    *,
    version: int = 1,
    calling: bytes = b"RAW".ljust(16),
    called: bytes = b"AUSCULT".ljust(16),
    reserved: bytes = bytes(32),
) -> bytes:
    """An A-ASSOCIATE-RQ of any items and fields."""
    return pdu(ASSOCIATE_RQ, struct.pack(">HH", version, 0) + called + calling + reserved + items)


def with_user(*sub_items: bytes) -> bytes:
    """The items of an A-ASSOCIATE-RQ with these sub-items of user information."""
    return APPLICATION + FILMS + sub_item(0x50, b"".join(sub_items))


def with_contexts(*contexts: bytes) -> bytes:
    """The items of an A-ASSOCIATE-RQ with these presentation contexts."""
    return APPLICATION + b"".join(contexts) + sub_item(0x50, MAX_LENGTH + CLASS_UID)


def results_of(acceptance: bytes) -> dict[int, int]:
    """The results of the presentation contexts of an A-ASSOCIATE-AC by their ids."""
    found, offset = {}, 68
    while offset < len(acceptance):
        kind, length = struct.unpack_from(">BxH", acceptance, offset)
        if kind == 0x21:
            found[acceptance[offset + 4]] = acceptance[offset + 6]
        offset += 4 + length
    return found


def pdu(kind: int, body: bytes = bytes(4)) -> bytes:
    """A PDU."""
    return struct.pack(">BxL", kind, len(body)) + body


def item(context_id: int, control: int, fragment: bytes) -> bytes:
    """A presentation data value item."""
    return struct.pack(">LBB", len(fragment) + 2, context_id, control) + fragment


def element(number: int, value: bytes) -> bytes:
    """An element of a command set."""
    return struct.pack("<HHL", 0, number, len(value)) + value


def uid(text: str) -> bytes:
    """The value of a UID, padded."""
    return text.encode() + b"\0" * (len(text) % 2)


def echo_command(message_id: int = 1) -> bytes:
    """A C-ECHO-RQ."""
    return (
        element(0x0002, uid(VERIFICATION))
        + element(0x0100, b"\x30\x00")
        + element(0x0110, struct.pack("<H", message_id))
        + element(0x0800, b"\x01\x01")
    )


def store_command(sop_uid: str, sop_class_uid: str = CR, message_id: int = 1) -> bytes:
    """A C-STORE-RQ."""
    return (
        element(0x0002, uid(sop_class_uid))
        + element(0x0100, b"\x01\x00")
        + element(0x0110, struct.pack("<H", message_id))
        + element(0x0700, b"\x02\x00")
        + element(0x0800, b"\x01\x00")
        + element(0x1000, uid(sop_uid))
    )


def store_pdus(made: Made, fragment_bytes: int = 16000, message_id: int = 1) -> list[bytes]:
    """One object as P-DATA-TF PDUs: its command, then its data set in fragments."""
    command, data = store_command(made.sop_uid, made.sop_class_uid, message_id), made.dataset()
    pdus = [pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, command))]
    for start in range(0, len(data), fragment_bytes):
        last = LAST if start + fragment_bytes >= len(data) else 0
        pdus.append(pdu(P_DATA, item(STORE_CONTEXT, last, data[start : start + fragment_bytes])))
    return pdus


class Wire:
    """A connection that says just what it is told to."""

    def __init__(self, port: int, connection: socket.socket | None = None) -> None:
        self.socket = connection or socket.create_connection((LOCAL, port), timeout=30)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()

    def send(self, *pdus: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(b"".join(pdus))

    def associate(self, **more: object) -> None:
        """Open an association."""
        self.send(request(**more))  # type: ignore[arg-type]
        assert self.receive()[0] == ASSOCIATE_AC

    def drip(self, data: bytes, pause_s: float) -> bool:
        """Send byte by byte, but never the last one; whether the other side ends it meanwhile."""
        self.socket.settimeout(pause_s)
        for byte in data[:-1]:
            try:
                self.socket.sendall(bytes([byte]))
                self.socket.recv(1)
            except TimeoutError:
                continue
            except OSError:
                return True
            return True
        return False

    def receive(self) -> tuple[int, bytes]:
        """The next PDU's type and body; type 0 if the connection has ended."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", head)
        return kind, self._exactly(length)

    def status(self) -> int:
        """The status of the next response."""
        kind, body = self.receive()
        assert kind == P_DATA, f"PDU type {kind} and not an answer"
        at = body.index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
        return int.from_bytes(body[at : at + 2], "little")

    def echo(self) -> int:
        """Send a C-ECHO and return its status."""
        self.send(pdu(P_DATA, item(ECHO_CONTEXT, COMMAND | LAST, echo_command())))
        return self.status()

    def aborted(self) -> tuple[int, int]:
        """Source and reason of the A-ABORT that must come now, and after it the end."""
        kind, body = self.receive()
        assert kind == ABORT, f"PDU type {kind} and not an A-ABORT"
        assert self.receive()[0] == 0
        return body[2], body[3]

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                break
            if not more:
                break
            data += more
        return data
