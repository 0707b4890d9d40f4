"""Association traffic bent in every way, against a live listener: it stays up, says nothing it should not, keeps nothing.

The sequences are real ones; hypothesis flips bits, cuts, lies about lengths, swaps, repeats and drops PDUs, and puts
hostile values where UIDs stand. The listener is a process of its own, so that its memory, threads and descriptors can
be read from outside.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.guided import guided
from tests.fuzz.pdus import examine
from tests.support.listening import ListenerProcess, answers, listener_process, store_made
from tests.support.objects import Made
from tests.support.waiting import wait_until
from tests.support.wire import (
    ABORT,
    APPLICATION,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    COMMAND,
    LAST,
    MAX_LENGTH,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    STORE_CONTEXT,
    Wire,
    context,
    echo_command,
    element,
    item,
    pdu,
    raw_request,
    request,
    store_command,
    store_pdus,
    sub_item,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EXAMPLES = 400
MARK = "ZZMARKED"
HOSTILE = (
    b"../../../etc/passwd",
    b"1.2/../3",
    b"\0" * 20,
    b"%s%n%x",
    b"1." * 40,
    f"{MARK}^NAME".encode(),
    b"\xff" * 16,
)
FILM = Made(sop_uid="1.2.3.4.5.6.7.8.9", pixel_bytes=400, changes={0x00100010: (b"PN", f"{MARK}^PATIENT".encode())})
SEQUENCES = {
    "store": [request(), *store_pdus(FILM, fragment_bytes=200), pdu(RELEASE_RQ)],
    "echo": [request(), pdu(P_DATA, item(3, COMMAND | LAST, echo_command())), pdu(RELEASE_RQ)],
    "command and data in one": [
        request(),
        pdu(
            P_DATA,
            item(STORE_CONTEXT, COMMAND | LAST, store_command(FILM.sop_uid))
            + item(STORE_CONTEXT, LAST, FILM.dataset()),
        ),
        pdu(ABORT),
    ],
    "command in pieces": [
        request(),
        *(pdu(P_DATA, item(3, COMMAND, bytes([byte]))) for byte in echo_command()),
        pdu(P_DATA, item(3, COMMAND | LAST, b"")),
    ],
    "a response nobody waits for": [
        request(),
        pdu(
            P_DATA,
            item(
                3,
                COMMAND | LAST,
                element(0x0002, b"1.2.840.10008.1.1\0")
                + element(0x0100, b"\x30\x80")
                + element(0x0120, b"\1\0")
                + element(0x0800, b"\x01\x01")
                + element(0x0900, b"\0\0"),
            ),
        ),
    ],
    "an odd request": [
        raw_request(
            APPLICATION
            + context(2, b"1.2.840.10008.1.1\0", b"", b"1.2.840.10008.1.2")
            + context(3)
            + sub_item(0x50, MAX_LENGTH + sub_item(0x5A, b"new") + sub_item(0x55, b"A" * 20)),
            version=3,
            calling=b"\xcd".ljust(16, b"\0"),
        ),
        pdu(RELEASE_RQ),
    ],
    "wrong roles": [request(), pdu(ASSOCIATE_AC, request()[6:]), pdu(ASSOCIATE_RJ), pdu(RELEASE_RP)],
}


@st.composite
def bent(draw: st.DrawFn) -> list[bytes]:
    """A sequence of PDUs with something wrong, mostly with the first of them whole, so that what follows is looked at."""
    pdus = list(SEQUENCES[draw(st.sampled_from(sorted(SEQUENCES)))])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0 if draw(st.booleans()) else min(1, len(pdus) - 1), len(pdus) - 1))
        pdus[at : at + 1] = draw(st.sampled_from(BENDS))(draw, pdus[at])
        if not pdus:
            return [b""]
    if draw(st.booleans()):
        pdus = draw(st.permutations(pdus))
    return list(pdus)


def flipped(draw: st.DrawFn, one: bytes) -> list[bytes]:
    bent_one = bytearray(one)
    for _ in range(draw(st.integers(1, 4))):
        if bent_one:
            bent_one[draw(st.integers(0, len(bent_one) - 1))] ^= 1 << draw(st.integers(0, 7))
    return [bytes(bent_one)]


def cut_short(draw: st.DrawFn, one: bytes) -> list[bytes]:
    return [one[: draw(st.integers(0, len(one)))]]


def lying(draw: st.DrawFn, one: bytes) -> list[bytes]:
    """A wrong length: of the PDU, or of any item or element in it."""
    value = draw(st.sampled_from([0, 1, 3, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF]))
    at = 2 if draw(st.booleans()) else draw(st.integers(0, max(0, len(one) - 4)))
    written = (
        struct.pack(draw(st.sampled_from([">L", "<L", ">H", "<H"])), value & (0xFFFF if at % 2 else 0xFFFFFFFF))
        if (value <= 0xFFFF)
        else struct.pack(">L", value)
    )
    return [one[:at] + written + one[at + len(written) :]]


def hostile(draw: st.DrawFn, one: bytes) -> list[bytes]:
    """Hostile text over a UID, and over whatever else is there."""
    found = [at for at in range(len(one)) if one.startswith((b"1.2.840", FILM.sop_uid.encode()), at)]
    text = draw(st.sampled_from(HOSTILE))
    at = draw(st.sampled_from(found)) if found else draw(st.integers(0, len(one)))
    return [one[:at] + text + one[at + len(text) :]]


def repeated(draw: st.DrawFn, one: bytes) -> list[bytes]:
    return [one] * draw(st.integers(0, 4))


def noise(draw: st.DrawFn, one: bytes) -> list[bytes]:
    kind = draw(st.integers(0, 255))
    return [one, pdu(kind, draw(st.binary(max_size=300)))]


BENDS = (flipped, cut_short, lying, hostile, repeated, noise)


class Usage:
    """What a process has and uses, as /proc tells."""

    def __init__(self, pid: int) -> None:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        self.resident = int(fields["VmRSS"].split()[0]) << 10
        self.threads = int(fields["Threads"])
        self.descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ListenerProcess]:
    with listener_process(tmp_path / "spool") as process:
        yield process


def send_all(port: int, pdus: list[bytes]) -> None:
    """Send everything, say that it is all, and read until the listener closes, which it must."""
    with Wire(port) as wire:
        try:
            wire.send(*pdus)
            wire.socket.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            # The listener was quicker.
            return
        with suppress(ConnectionError):
            while wire.socket.recv(1 << 16):
                pass


def test_bent_traffic_harms_nothing(listener: ListenerProcess, tmp_path: Path) -> None:
    for pdus in SEQUENCES.values():
        send_all(listener.port, pdus)
    before = Usage(listener.pid)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(bent())
    def barrage(pdus: list[bytes]) -> None:
        send_all(listener.port, pdus)

    barrage()
    assert answers(listener.port)
    assert store_made(listener.port, tmp_path, Made())[0] == 0
    wait_until(lambda: Usage(listener.pid).threads <= before.threads, what="the threads to end")
    wait_until(lambda: Usage(listener.pid).descriptors <= before.descriptors, what="the descriptors to be closed")
    assert Usage(listener.pid).resident - before.resident < 32 << 20
    spool = listener.spool.root
    assert list((spool / "tmp").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"spool", "object.dcm"}
    listener.stop()
    listener.close()
    assert [line for line in listener.log if "Traceback" in line or "died" in line or MARK in line] == []


def test_requests_of_very_many_items_take_no_time(listener: ListenerProcess) -> None:
    """A request may have 256 KiB of anything: empty items, items in items, the same item over and over."""
    whole = request()
    head = whole[6:74]
    for small in (
        b"\x10\0\0\0",
        b"\x20\0\0\4\1\0\0\0",
        b"\x50\0\0\4\x51\0\0\0",
        b"\x50\0\0\0",
        b"\x20\0\0\x08\1\0\0\0\x40\0\0\0",
    ):
        body = head + whole[74:] + small * ((200 << 10) // len(small))
        send_all(listener.port, [pdu(1, body)])
    assert answers(listener.port)


def test_coverage_guided_bytes_break_nothing(tmp_path: Path) -> None:
    guided("fuzz_pdus", [b"".join(pdus) for pdus in SEQUENCES.values()], tmp_path, runs=3000, longest=2048)


def test_the_sequences_are_whole_before_they_are_bent() -> None:
    assert {name: examine(b"".join(pdus)) for name, pdus in SEQUENCES.items()} == {
        "store": 1,
        "echo": 1,
        "command and data in one": 1,
        "command in pieces": 1,
        "a response nobody waits for": 1,
        "an odd request": 0,
        "wrong roles": 0,
    }
