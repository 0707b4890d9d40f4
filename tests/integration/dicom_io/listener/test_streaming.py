"""Objects that are streamed to their file against pynetdicom's path, which collects them: same bytes, answers, refusals."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from dicom_io.header.reader import read_object
from dicom_io.inbox.beginning import BEGINNING_BYTES
from dicom_io.reasons import Reason
from tests.support.listening import LOCAL, CollectingListener, Served, listening
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.waiting import wait_until
from tests.support.wire import (
    ABORT,
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RQ,
    STORE_CONTEXT,
    VERIFICATION,
    Wire,
    element,
    item,
    pdu,
    request,
    store_command,
    uid,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

DEFLATED, J2K = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.90"
SOP_UID = "1.2.3.4.5"


def made(**more: object) -> Made:
    return Made(sop_uid=SOP_UID, study_uid="1.2.3", series_uid="1.2.3.4", **more)  # type: ignore[arg-type]


def encapsulated() -> bytes:
    frame = bytes(range(256)) * 1200
    head = made(changes={0x7FE00010: (b"", b"")}).dataset()
    fragment = b"\xfe\xff\x00\xe0" + len(frame).to_bytes(4, "little") + frame
    offsets, end = b"\xfe\xff\x00\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    return head + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + offsets + fragment + end


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


USUAL = made(pixel_bytes=300_000).dataset()
FILE_META = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
#: Transfer syntax and data set. The long header has its UIDs behind the part that is looked at first.
OBJECTS: dict[str, tuple[str, bytes]] = {
    "small": (EXPLICIT_LE, made().dataset()),
    "usual": (EXPLICIT_LE, USUAL),
    "as long as the beginning": (EXPLICIT_LE, made(pixel_bytes=BEGINNING_BYTES - len(made(pixel_bytes=0).dataset())).dataset()),
    "encapsulated": (J2K, encapsulated()),
    "elements behind the pixels": (EXPLICIT_LE, USUAL + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0abcd"),
    "deflated": (DEFLATED, deflated(USUAL)),
    "not deflated though it says so": (DEFLATED, USUAL),
    "a long header": (EXPLICIT_LE, made(pixel_bytes=200_000, changes={0x00091010: (b"OB", bytes(90_000))}).dataset()),
    "a long header before the pixels": (EXPLICIT_LE, made(pixel_bytes=9, changes={0x00291010: (b"OB", bytes(90_000))}).dataset()),
    "without pixels": (EXPLICIT_LE, made(changes={0x7FE00010: (b"", b"")}).dataset()),
    "file meta information before it": (EXPLICIT_LE, FILE_META + USUAL),
    "the beginning of a file before it": (EXPLICIT_LE, bytes(128) + b"DICM" + FILE_META + USUAL),
    "endless file meta information": (EXPLICIT_LE, FILE_META * 3000 + USUAL),
    "empty": (EXPLICIT_LE, b""),
    "cut off in the header": (EXPLICIT_LE, USUAL[:60]),
    "cut off in the pixels": (EXPLICIT_LE, USUAL[:-1000]),
    "damaged": (EXPLICIT_LE, b"\x08\x00\x16\x00UN\0\0\0\0\0\x01" + bytes(100_000)),
    "another object": (EXPLICIT_LE, Made(pixel_bytes=100_000).dataset()),
    "another class": (EXPLICIT_LE, made(sop_class_uid="1.2.840.10008.5.1.4.1.1.7").dataset()),
    "no study": (EXPLICIT_LE, made(changes={0x0020000D: (b"", b"")}).dataset()),
    "bad series": (EXPLICIT_LE, made(changes={0x0020000E: (b"UI", b"MARKED^NAME")}).dataset()),
    "over the limit": (EXPLICIT_LE, made(pixel_bytes=(1 << 20) + 1).dataset()),
}  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    folder = tmp_path_factory.mktemp("both")
    with (
        listening(folder / "streaming", max_object_mb=1) as streaming,
        listening(folder / "collecting", kind=CollectingListener, max_object_mb=1) as collecting,
    ):
        yield streaming, collecting


def data_pdus(data: bytes, fragment_bytes: int) -> list[bytes]:
    starts = range(0, max(1, len(data)), fragment_bytes)
    last = starts[-1]
    fragments = [item(STORE_CONTEXT, LAST * (at == last), data[at : at + fragment_bytes]) for at in starts]
    return [pdu(P_DATA, fragment) for fragment in fragments]


def outcome(served: Served, syntax: str, pdus: list[bytes]) -> tuple[object, ...]:
    """Answer, files and refusals of one association; what was stored is taken away."""
    with Wire(served.port) as wire:
        wire.send(request(contexts=((CR, syntax), (VERIFICATION, "1.2.840.10008.1.2"))))
        wire.receive()
        wire.send(*pdus)
        answer = wire.receive()
    keys = served.spool.keys()
    for key in keys:
        path = served.spool.path(key)
        assert read_object(path, served.spool.receipts.of(key)) == read_object(path)
    stored = [served.spool.path(key).read_bytes() for key in keys]
    for key in keys:
        served.spool.remove(key)
    told = [(record.reason, record.study_uid, record.sop_uid) for record in served.journal.drain().records]
    assert served.leftovers() == []
    return answer, stored, told


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("fragment_bytes", [1000, 16378, 131066])
def test_an_object_ends_in_the_same_bytes_and_the_same_answer(
    both: tuple[Served, Served], name: str, fragment_bytes: int
) -> None:
    syntax, data = OBJECTS[name]
    command = pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, store_command(SOP_UID)))
    streamed, collected = (outcome(served, syntax, [command, *data_pdus(data, fragment_bytes)]) for served in both)
    assert streamed == collected


COMMANDS = {
    "padded with blanks": store_command(SOP_UID + "  "),
    "of no class": element(0x0100, b"\1\0") + element(0x0110, b"\1\0") + element(0x0800, b"\1\0") + element(0x1000, uid(SOP_UID)),
    "of no instance": element(2, uid(CR)) + element(0x0100, b"\1\0") + element(0x0110, b"\1\0") + element(0x0800, b"\1\0"),
    "without a message id": element(2, uid(CR)) + element(0x0100, b"\1\0") + element(0x0800, b"\1\0") + element(0x1000, uid(SOP_UID)),
    "of the class of another context": store_command(SOP_UID, VERIFICATION),
    "of a class of no context": store_command(SOP_UID, "1.2.840.10008.5.1.4.1.1.7"),
    "without data": store_command(SOP_UID).replace(element(0x0800, b"\1\0"), element(0x0800, b"\1\1")),
    "of a name": store_command("MARKED^NAME"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_an_odd_command_has_the_same_answer(both: tuple[Served, Served], name: str) -> None:
    data = [] if name == "without data" else data_pdus(USUAL, 16378)
    pdus = [pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, COMMANDS[name])), *data]
    streamed, collected = (outcome(served, EXPLICIT_LE, pdus) for served in both)
    assert streamed == collected


@pytest.mark.parametrize("shape", ["in one PDU", "items of one PDU", "a command in pieces", "an empty last fragment"])
def test_a_message_may_be_cut_in_any_way(both: tuple[Served, Served], shape: str) -> None:
    command, data = store_command(SOP_UID), made(pixel_bytes=70_000).dataset()
    whole = item(STORE_CONTEXT, COMMAND | LAST, command)
    pdus = {
        "in one PDU": [pdu(P_DATA, whole + item(STORE_CONTEXT, LAST, data))],
        "items of one PDU": [pdu(P_DATA, whole), pdu(P_DATA, item(STORE_CONTEXT, 0, data[:9]) + item(STORE_CONTEXT, 0, b"") + item(STORE_CONTEXT, LAST, data[9:]))],
        "a command in pieces": [pdu(P_DATA, item(STORE_CONTEXT, COMMAND, command[:30])), pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, command[30:])), *data_pdus(data, 16378)],
        "an empty last fragment": [pdu(P_DATA, whole), pdu(P_DATA, item(STORE_CONTEXT, 0, data)), pdu(P_DATA, item(STORE_CONTEXT, LAST, b""))],
    }[shape]  # fmt: skip
    streamed, collected = (outcome(served, EXPLICIT_LE, pdus) for served in both)
    assert streamed == collected
    assert len(streamed[1]) == 1  # type: ignore[arg-type]


def test_an_answer_keeps_to_the_length_that_the_peer_accepts(both: tuple[Served, Served]) -> None:
    lengths = (bytes(4), (7).to_bytes(4), (60).to_bytes(4))
    usual = request()
    at = usual.index(b"\x51\0\0\4") + 4
    command = pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, store_command(SOP_UID)))
    for length in lengths:
        told = []
        for served in both:
            with Wire(served.port) as wire:
                wire.send(usual[:at] + length + usual[at + 4 :])
                wire.receive()
                wire.send(command, *data_pdus(USUAL, 16378))
                pdus = [wire.receive()]
                while not pdus[-1][1][5] & LAST:
                    pdus.append(wire.receive())
            told.append(pdus)
            served.spool.remove(served.spool.keys()[0])
        assert told[0] == told[1]


@pytest.mark.parametrize("end", [pdu(ABORT), pdu(RELEASE_RQ), b"", pdu(9), pdu(P_DATA, item(STORE_CONTEXT, COMMAND, b"")), pdu(P_DATA, item(3, 0, b"xy"))], ids=["abort", "release", "close", "an unknown PDU", "a command in the data", "another context"])  # fmt: skip
def test_an_object_that_ends_before_its_end_leaves_nothing(tmp_path: Path, end: bytes) -> None:
    with listening(tmp_path) as served, Wire(served.port) as wire:
        wire.associate()
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, store_command(SOP_UID))))
        wire.send(*data_pdus(USUAL, 16378)[:-1])
        wait_until(served.leftovers, what="the temporary file")
        wire.send(end)
        if not end:
            wire.socket.close()
        wait_until(lambda: served.told.closed, what="the association to close")
        assert served.leftovers() == []
        wait_until(lambda: served.budget.total == 0, what="the memory to be given back")
        reasons = [] if end in (pdu(ABORT), pdu(RELEASE_RQ), b"") else [(Reason.PROTOCOL_ERROR, "RAW", LOCAL, 1)]
        assert served.refusals() == reasons


def test_what_is_over_the_limit_leaves_the_disk_before_its_end(tmp_path: Path) -> None:
    with listening(tmp_path, max_object_mb=1) as served, Wire(served.port) as wire:
        wire.associate()
        *most, end = data_pdus(made(pixel_bytes=(1 << 20) + 50_000).dataset(), 16378)
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, store_command(SOP_UID))), *most[:40])
        wait_until(served.leftovers, what="the temporary file")
        wire.send(*most[40:])
        wait_until(lambda: not served.leftovers(), what="the temporary file to go")
        assert served.budget.total < 1 << 16
        wire.send(end)
        assert wire.status() == 0xC214
