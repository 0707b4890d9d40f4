"""A sender that costs next to nothing while it is timed: all PDUs are made before.

Each share goes over one association of a thread of its own, one object after the other as PACS do, with TCP_NODELAY; what
is sent next waits for the answer before. Only the negotiation is pynetdicom's.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.peers.films import Film

LOCAL = "127.0.0.1"
OUR_UID = "2.25.290135475043461850384193425862347812013"
CONTEXT, COMMAND, LAST = 1, 1, 2
MOST_PDU = 131072
#: How much of a film `begin` does not send.
KEPT_BACK = 1000
TIMEOUT_S = 120.0
_STATUS = b"\x00\x00\x00\x09\x02\x00\x00\x00"
_RELEASE = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class Framed:
    """A film as PDUs."""

    sop_uid: str
    pdus: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """When a film went, on the monotonic clock: its first byte, its last, and the answer."""

    sop_uid: str
    first: float
    last: float
    answered: float


def framed(film: Film, max_pdu: int) -> Framed:
    """Make the P-DATA-TF PDUs (PS3.8 9.3.5) of a C-STORE-RQ (PS3.7 9.3.1.1)."""
    command = _command(film)
    parts: list[bytes | memoryview] = [_head(len(command), COMMAND | LAST), command]
    room = (max_pdu or MOST_PDU) - 6
    view = memoryview(film.data)
    for start in range(0, len(view), room):
        part = view[start : start + room]
        parts += [_head(len(part), LAST if start + room >= len(view) else 0), part]
    return Framed(film.sop_uid, b"".join(parts))


def negotiated_pdu(port: int, aet: str, film: Film) -> int:
    """Open an association for such a film and release it: the longest PDU that the peer takes."""
    connection, longest = _associate(port, aet, film.sop_class, film.syntax)
    _release(connection)
    return longest


def send(port: int, aet: str, like: Film, shares: Sequence[Sequence[Framed]]) -> tuple[float, list[Sent]]:
    """Send each share over an association of its own; when all began, and when each film went.

    Raises
    ------
    RuntimeError
        If a film is not answered with 0x0000.
    """
    sent: list[Sent] = []
    failures: list[BaseException] = []

    def one(share: Sequence[Framed]) -> None:
        try:
            gate.wait(TIMEOUT_S)
            sent.extend(_send_share(port, aet, like, share))
        except (OSError, RuntimeError, threading.BrokenBarrierError) as error:
            failures.append(error)

    gate = threading.Barrier(len(shares) + 1)
    threads = [threading.Thread(target=one, args=(share,), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    gate.wait(TIMEOUT_S)
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{aet} did not take every film") from failures[0]
    return began, sent


def begin(port: int, aet: str, film: Film, made: Framed) -> Callable[[], None]:
    """Open an association and send all of a film but its end; what is returned sends that and waits for the answer."""
    connection, _ = _associate(port, aet, film.sop_class, film.syntax)
    connection.sendall(made.pdus[:-KEPT_BACK])

    def finish() -> None:
        connection.sendall(made.pdus[-KEPT_BACK:])
        _need_success(aet, *_read(connection))
        _release(connection)

    return finish


def _send_share(port: int, aet: str, like: Film, share: Sequence[Framed]) -> list[Sent]:
    connection, _ = _associate(port, aet, like.sop_class, like.syntax)
    sent = []
    for film in share:
        first = time.monotonic()
        connection.sendall(film.pdus)
        last = time.monotonic()
        _need_success(aet, *_read(connection))
        sent.append(Sent(film.sop_uid, first, last, time.monotonic()))
    _release(connection)
    return sent


def _need_success(aet: str, kind: int, answer: bytes) -> None:
    """Raise unless a PDU is the answer 0x0000 to a C-STORE."""
    place = answer.find(_STATUS)
    if kind != 4 or place < 0 or answer[place + 8 : place + 10] != b"\x00\x00":
        raise RuntimeError(f"{aet} answered a C-STORE with PDU {kind} and {answer[place + 8 : place + 10]!r}")


def _associate(port: int, aet: str, sop_class: str, syntax: str) -> tuple[socket.socket, int]:
    connection = socket.create_connection((LOCAL, port), timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_request(aet, sop_class, syntax))
    kind, body = _read(connection)
    if kind != 2:
        raise RuntimeError(f"{aet} answered the association with PDU {kind}")
    accepted = A_ASSOCIATE_AC()
    accepted.decode(struct.pack(">BxI", kind, len(body)) + body)
    answer = accepted.to_primitive()
    if [context.result for context in answer.presentation_context_definition_results_list] != [0]:
        raise RuntimeError(f"{aet} does not take {syntax}")
    longest = next(item for item in answer.user_information if isinstance(item, MaximumLengthNotification))
    return connection, min(longest.maximum_length_received or MOST_PDU, MOST_PDU)


def _request(aet: str, sop_class: str, syntax: str) -> bytes:
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = "BENCH", aet
    context = build_context(sop_class, syntax)
    context.context_id = CONTEXT
    request.presentation_context_definition_list = [context]
    longest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    longest.maximum_length_received = MOST_PDU
    implementation.implementation_class_uid = OUR_UID
    request.user_information = [longest, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    return bytes(pdu.encode())


def _release(connection: socket.socket) -> None:
    with connection:
        connection.sendall(_RELEASE)
        _read(connection)


def _read(connection: socket.socket) -> tuple[int, bytes]:
    kind, length = struct.unpack(">BxI", _exactly(connection, 6))
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise RuntimeError("the peer closed the connection")
        parts += part
    return bytes(parts)


def _command(film: Film) -> bytes:
    """The command set, implicit VR little endian."""
    uids = [(uid + "\0" * (len(uid) % 2)).encode() for uid in (film.sop_class, film.sop_uid)]
    us = struct.Struct("<H").pack
    elements = [
        (0x0002, uids[0]),
        (0x0100, us(1)),
        (0x0110, us(1)),
        (0x0700, us(0)),
        (0x0800, us(0)),
        (0x1000, uids[1]),
    ]
    body = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _head(length: int, control: int) -> bytes:
    return struct.pack(">BxIIBB", 4, length + 6, length + 2, CONTEXT, control)
