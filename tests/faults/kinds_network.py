"""Faults of senders: associations that end in every way at every PDU, and objects that come again or contradict."""

from __future__ import annotations

import random
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from dicom_io.header.part10 import read_preface
from tests.faults.films import Maker, Sent, Study
from tests.faults.stack import POSTGRESQL, SQLITE
from tests.faults.turn import Turn, kind, mixed
from tests.support import wire

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = "network"
DX, EXPLICIT_LE = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.1"
FRAGMENT_BYTES = 64_000
PEERS = 4


def _pdus(each: Sent) -> list[bytes]:
    """A-ASSOCIATE-RQ, the object's command and fragments, A-RELEASE-RQ."""
    with each.path.open("rb") as file:
        offset = read_preface(file).offset
    data = each.path.read_bytes()[offset:]
    pdus = [wire.request(contexts=((DX, EXPLICIT_LE),))]
    command = wire.store_command(each.sop_uid, DX)
    pdus.append(wire.pdu(wire.P_DATA, wire.item(wire.STORE_CONTEXT, wire.COMMAND | wire.LAST, command)))
    for start in range(0, len(data), FRAGMENT_BYTES):
        last = wire.LAST if start + FRAGMENT_BYTES >= len(data) else 0
        item = wire.item(wire.STORE_CONTEXT, last, data[start : start + FRAGMENT_BYTES])
        pdus.append(wire.pdu(wire.P_DATA, item))
    return [*pdus, wire.pdu(wire.RELEASE_RQ)]


def _abort(connection: socket.socket) -> None:
    connection.sendall(wire.pdu(wire.ABORT))


def _reset(connection: socket.socket) -> None:
    # Closing sends RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)


def _silence(connection: socket.socket) -> None:
    """Say nothing more and keep the connection, as a peer whose cable was cut: the listener must end it."""
    connection.settimeout(30)
    while connection.recv(1 << 16):
        pass


def _half(pdu: bytes) -> bytes:
    return pdu[: len(pdu) // 2]


def _break_off(port: int, pdus: list[bytes], at: int, *, is_within: bool, end: Callable[[socket.socket], None]) -> None:
    """Send the PDUs before `at`, half of that one where the break is to be within it, and end in this way."""
    with suppress(OSError), wire.Wire(port) as peer:
        for number, pdu in enumerate(pdus[:at]):
            peer.send(pdu)
            if number == 0:
                peer.receive()
        if is_within:
            peer.send(_half(pdus[at]))
        end(peer.socket)


def _broken_associations(turn: Turn, end: Callable[[socket.socket], None]) -> None:
    """Break an association off at every PDU boundary, and within every PDU, beside the senders that behave."""
    objects = [each for study in turn.studies for each in study.objects]
    breaks = []
    for is_within in (False, True):
        pdus = _pdus(turn.rng.choice(objects))
        breaks += [(pdus, at, is_within) for at in range(is_within ^ 1, len(pdus))]
    turn.rng.shuffle(breaks)

    def some(mine: list[tuple[list[bytes], int, bool]]) -> None:
        for pdus, at, is_within in mine:
            if port := turn.stack.port_now(30):
                _break_off(port, pdus, at, is_within=is_within, end=end)

    threads = [threading.Thread(target=some, args=(breaks[number::PEERS],), daemon=True) for number in range(PEERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "the listener did not end an association"
    turn.note(f"{len(breaks)} associations")


@kind("associations aborted at every PDU", GROUP, short=(SQLITE,))
def abort(turn: Turn) -> None:
    _broken_associations(turn, _abort)


@kind("connections reset (RST) at every PDU", GROUP)
def reset(turn: Turn) -> None:
    _broken_associations(turn, _reset)


@kind("connections half closed (FIN) at every PDU", GROUP)
def close(turn: Turn) -> None:
    _broken_associations(turn, _close)


@kind("peers silent (half-open) at every PDU", GROUP)
def silence(turn: Turn) -> None:
    _broken_associations(turn, _silence)


@kind("duplicate storm: every object over several associations at once", GROUP, short=(POSTGRESQL,))
def duplicates(turn: Turn) -> None:
    for _ in range(2):
        turn.senders.start(turn.studies, PEERS, random.Random(turn.rng.getrandbits(32)))


def corrected(maker: Maker, rng: random.Random, count: int) -> list[Study]:
    """Studies in which a film comes again under its SOP Instance UID with other pixels, the last version positive."""
    studies = mixed(maker, rng, count // 2)
    for _ in range(count - len(studies)):
        study = Study(maker.uid())
        series, sop = maker.uid(), maker.uid()
        for name in ("normal 1", f"positive {rng.choice((1, 8, 12))}"):
            maker.add(study, series, maker.named(name), sop_uid=sop)
        studies.append(study)
    return studies


@kind("the same SOP Instance UID with other bytes", GROUP, plan=corrected, short=(POSTGRESQL,))
def other_bytes(turn: Turn) -> None:
    turn.senders.wait_acked(turn.objects)
