"""Association requests that are not what the standard says: what it wants ignored is ignored, the rest is refused."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from dicom_io.header.part10 import read_preface
from dicom_io.reasons import Reason
from tests.support.listening import LOCAL, Served, listening
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.wire import (
    APPLICATION,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    CLASS_UID,
    COMMAND,
    FILMS,
    IMPLICIT_LE,
    LAST,
    MAX_LENGTH,
    P_DATA,
    VERIFICATION,
    Wire,
    context,
    element,
    item,
    pdu,
    raw_request,
    results_of,
    store_command,
    sub_item,
    with_contexts,
    with_user,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

EXPLICIT, LATIN_1 = EXPLICIT_LE.encode(), "RADIOLOGÍA".encode("latin-1")
ECHO = context(3, VERIFICATION.encode(), IMPLICIT_LE.encode())
UNKNOWN = sub_item(0x5A, b"what comes after 59H")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with listening(tmp_path_factory.mktemp("tolerance") / "spool") as running:
        yield running


def store(wire: Wire, made: Made, context_id: int = 1, command: bytes = b"", data: bytes = b"") -> int:
    """Send an object; the status of the answer, which may come in any number of pieces."""
    wire.send(pdu(P_DATA, item(context_id, COMMAND | LAST, command or store_command(made.sop_uid))))
    wire.send(pdu(P_DATA, item(context_id, LAST, data or made.dataset())))
    answer = b""
    while not (begun := answer.partition(struct.pack("<HHL", 0, 0x0900, 2))[2][:2])[1:]:
        kind, body = wire.receive()
        assert kind == P_DATA
        answer += body[6:]
    return int.from_bytes(begun, "little")


def user(*sub_items: bytes) -> bytes:
    return raw_request(with_user(*sub_items))


def contexts(*proposed: bytes) -> bytes:
    return raw_request(with_contexts(*proposed))


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(user(MAX_LENGTH, CLASS_UID, UNKNOWN), id="an unknown sub-item"),
        pytest.param(user(sub_item(0xFF, b"x" * 5000), MAX_LENGTH, CLASS_UID), id="a long unknown sub-item, first"),
        pytest.param(raw_request(UNKNOWN + with_user(MAX_LENGTH) + UNKNOWN), id="unknown items"),
        pytest.param(contexts(context(1, CR.encode(), EXPLICIT, extra=UNKNOWN)), id="an unknown item in a context"),
        pytest.param(raw_request(version=0x0003), id="protocol version, two bits"),
        pytest.param(raw_request(version=0xFFFF), id="protocol version, all bits"),
        pytest.param(raw_request(reserved=b"\xff" * 32), id="reserved bytes"),
        pytest.param(raw_request(calling=LATIN_1.ljust(16), called=LATIN_1.ljust(16, b"\0")), id="titles in Latin-1"),
        pytest.param(raw_request(calling=bytes(16), called=b" " * 16), id="empty titles"),
        pytest.param(raw_request(calling=b"A\nB\x1b[31m\\\0\0\0".ljust(16)), id="a title of control characters"),
        pytest.param(user(MAX_LENGTH, CLASS_UID, sub_item(0x55, b"A" * 20)), id="version name too long"),
        pytest.param(user(MAX_LENGTH, CLASS_UID, sub_item(0x55, b"\xff\0")), id="version name of any bytes"),
        pytest.param(user(MAX_LENGTH, sub_item(0x52, b"1." * 40)), id="class UID too long"),
        pytest.param(user(MAX_LENGTH, sub_item(0x52, b"\xff no UID")), id="class UID of any bytes"),
        pytest.param(user(CLASS_UID), id="no maximum length"),
        pytest.param(user(CLASS_UID, sub_item(0x51, b"\x40\0")), id="maximum length of two bytes"),
        pytest.param(user(CLASS_UID, sub_item(0x51, b"\0\0\0\1")), id="maximum length that nothing fits in"),
        pytest.param(user(CLASS_UID, sub_item(0x51, b"\0\0\0\x0c")), id="maximum length of a few bytes"),
        pytest.param(user(CLASS_UID, sub_item(0x51, b"\xff\xff\xff\xff")), id="maximum length without end"),
        pytest.param(raw_request(APPLICATION + FILMS), id="no user information"),
        pytest.param(user(MAX_LENGTH, sub_item(0x53, b"\0"), sub_item(0x54, b"\0\xff1.2")), id="broken negotiations"),
        pytest.param(user(MAX_LENGTH, sub_item(0x56, b""), sub_item(0x57, b"\0\xff1")), id="broken extended ones"),
        pytest.param(raw_request(FILMS + sub_item(0x50, MAX_LENGTH)), id="no application context"),
        pytest.param(raw_request(sub_item(0x10, b"\xff") + FILMS), id="an application context of any bytes"),
        pytest.param(raw_request(with_user(MAX_LENGTH) + b"\0"), id="an odd byte at the end"),
        pytest.param(raw_request(with_user(MAX_LENGTH) + bytes(10)), id="zeros at the end"),
        pytest.param(user(MAX_LENGTH, CLASS_UID, b"\0\0"), id="zeros within an item"),
        pytest.param(contexts(context(1, CR.encode() + b"\0", EXPLICIT + b"\0")), id="UIDs padded with NUL"),
        pytest.param(contexts(context(1, CR.encode() + b" ", b" " + EXPLICIT)), id="UIDs padded with spaces"),
        pytest.param(contexts(context(1, CR.encode(), b"\xff", b"", EXPLICIT)), id="a transfer syntax among others"),
        pytest.param(contexts(context(1, CR.encode(), b"1." * 40, EXPLICIT, EXPLICIT)), id="transfer syntaxes twice"),
        pytest.param(contexts(FILMS, FILMS), id="a context twice"),
        pytest.param(contexts(sub_item(0x20, b""), FILMS), id="an empty context"),
    ],
)
def test_what_the_standard_wants_ignored_keeps_no_object_away(sent: bytes, served: Served) -> None:
    with Wire(served.port) as wire:
        wire.send(sent)
        kind, body = wire.receive()
        assert kind == ASSOCIATE_AC
        # PS3.8 Table 9-17: titles and reserved bytes as they came.
        assert body[4:68] == sent[10:74]
        assert results_of(body)[1] == 0
        assert store(wire, Made()) == 0
    assert served.reasons() == []


@pytest.mark.parametrize(
    ("proposed", "results"),
    [
        pytest.param((context(1), ECHO), {1: 4, 3: 0}, id="no transfer syntax"),
        pytest.param((context(1, CR.encode(), b""), ECHO), {1: 4, 3: 0}, id="an empty transfer syntax"),
        pytest.param((context(1, CR.encode(), b"\xff\xfe"), ECHO), {1: 4, 3: 0}, id="a transfer syntax that is no UID"),
        pytest.param((context(1, b"", EXPLICIT), ECHO), {1: 3, 3: 0}, id="an empty abstract syntax"),
        pytest.param((context(1, b"\xff", EXPLICIT), ECHO), {1: 3, 3: 0}, id="an abstract syntax that is no UID"),
        pytest.param((sub_item(0x20, b"\1\0"), ECHO), {1: 3, 3: 0}, id="a context cut short"),
        pytest.param((context(2, CR.encode(), EXPLICIT), ECHO), {2: 0, 3: 0}, id="an even id"),
    ],
)
def test_a_context_that_says_too_little_costs_itself_alone(
    proposed: tuple[bytes, ...], results: dict[int, int], served: Served
) -> None:
    with Wire(served.port) as wire:
        wire.send(raw_request(with_contexts(*proposed)))
        kind, body = wire.receive()
        assert (kind, results_of(body)) == (ASSOCIATE_AC, results)
        assert wire.echo() == 0
        assert results.get(2) is None or store(wire, Made(), context_id=2) == 0


def test_an_association_without_a_context_that_can_be_used_is_noted(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.send(raw_request(with_contexts(context(1), context(3, b""))))
        kind, body = wire.receive()
        assert (kind, results_of(body)) == (ASSOCIATE_AC, {1: 4, 3: 3})
        assert served.noted() == [(Reason.NO_CONTEXT_ACCEPTED, "RAW", LOCAL, 1)]


IDENTITY = sub_item(0x58, b"\x09\0\0\xffX")


@pytest.mark.parametrize(
    ("sent", "rejection", "reason"),
    [
        pytest.param(
            raw_request(version=0x0002), (1, 2, 2), Reason.PROTOCOL_VERSION_UNKNOWN, id="a version without bit 0"
        ),
        pytest.param(raw_request(version=0), (1, 2, 2), Reason.PROTOCOL_VERSION_UNKNOWN, id="no version"),
        pytest.param(
            raw_request(with_user(MAX_LENGTH, IDENTITY)),
            (2, 2, 1),
            Reason.USER_IDENTITY_REJECTED,
            id="a broken user identity",
        ),
        pytest.param(
            raw_request(calling=b"RADIOLOGA".ljust(16)), (1, 1, 3), Reason.CALLING_AE_NOT_ALLOWED, id="letters left out"
        ),
        pytest.param(
            raw_request(calling=b"RAW\0RAW".ljust(16)), (1, 1, 3), Reason.CALLING_AE_NOT_ALLOWED, id="more behind a NUL"
        ),
        pytest.param(raw_request(calling=bytes(16)), (1, 1, 3), Reason.CALLING_AE_NOT_ALLOWED, id="no calling title"),
        pytest.param(
            raw_request(called=b"AUSCULT\xcd".ljust(16)), (1, 1, 7), Reason.CALLED_AE_NOT_RECOGNISED, id="called title"
        ),
        pytest.param(raw_request(called=bytes(16)), (1, 1, 7), Reason.CALLED_AE_NOT_RECOGNISED, id="no called title"),
    ],
)
def test_a_refusal_is_a_rejection_and_notes_the_titles(
    sent: bytes, rejection: tuple[int, int, int], reason: Reason, tmp_path: Path
) -> None:
    allowed = frozenset({"RAW", "RADIOLOGÍA"})
    with (
        listening(tmp_path / "spool", allowed_aets=allowed, check_called_aet=True) as served,
        Wire(served.port) as wire,
    ):
        wire.send(sent)
        kind, body = wire.receive()
        assert (kind, tuple(body[1:4])) == (ASSOCIATE_RJ, rejection)
        assert wire.receive()[0] == 0
        served.noted()
        (record,) = served.journal.drain().records
        shown = {b"RAW": "RAW", b"RADIOLOGA": "RADIOLOGA", b"RAW\0RAW": "RAW?RAW", b"": ""}
        assert (record.reason, record.calling_aet) == (reason, shown[sent[26:42].strip(b" \0")])


@pytest.mark.parametrize("title", [LATIN_1.ljust(16, b"\0"), LATIN_1.rjust(16), "RADIOLOGÍA".encode().ljust(16)])
def test_an_allowed_title_is_found_whatever_its_padding(title: bytes, tmp_path: Path) -> None:
    with (
        listening(tmp_path / "spool", allowed_aets=frozenset({"RADIOLOGÍA"}), check_called_aet=True) as served,
        Wire(served.port) as wire,
    ):
        wire.send(raw_request(calling=title, called=b"AUSCULT".ljust(16, b"\0")))
        assert wire.receive()[0] == ASSOCIATE_AC


def test_a_request_that_leads_out_of_itself_is_aborted_and_notes_the_titles(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.send(raw_request(APPLICATION + FILMS + sub_item(0x50, MAX_LENGTH, 500)))
        assert wire.aborted() == (2, 6)
        assert served.noted() == [(Reason.PROTOCOL_ERROR, "RAW", LOCAL, 1)]


@pytest.mark.parametrize(
    "priority", [b"\3\0", b"\xff\xff", b"", b"\1\0\0\0"], ids=["3", "65535", "empty", "four bytes"]
)
def test_any_priority_is_taken_for_medium(priority: bytes, served: Served) -> None:
    made = Made()
    command = store_command(made.sop_uid).replace(element(0x0700, b"\2\0"), element(0x0700, priority))
    with Wire(served.port) as wire:
        wire.associate()
        assert store(wire, made, command=command) == 0


def meta(number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def implicit(group: int, number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", group, number, len(value)) + value


FORGED = (
    meta(0x0010, b"UI", b"1.2.840.10008.1.2.4.100\0")
    + meta(0x0016, b"AE", b"OTHERPACS ")
    + meta(0x0017, b"AE", b"OTHERPACS ")
    + meta(0x0026, b"LO", b"10.9.8.7")
)
IN_IMPLICIT = implicit(2, 0x0010, b"1.2.840.10008.1.2.4.100\0") + implicit(2, 0x0017, b"OTHERPACS ")
COMMAND_SET = implicit(0, 0, struct.pack("<L", 10)) + implicit(0, 0x0110, b"\1\0")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(FORGED, id="file meta information"),
        pytest.param(meta(0, b"UL", struct.pack("<L", 7)) + FORGED, id="with a length that lies"),
        pytest.param(FORGED + FORGED, id="twice"),
        pytest.param(IN_IMPLICIT, id="in implicit VR"),
        pytest.param(bytes(128) + b"DICM" + FORGED, id="a whole file"),
        pytest.param(COMMAND_SET, id="a command set"),
        pytest.param(COMMAND_SET + FORGED, id="a command set and file meta information"),
    ],
)
def test_what_stands_before_a_data_set_never_becomes_file_meta_information(before: bytes, tmp_path: Path) -> None:
    made = Made()
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate()
        assert store(wire, made, data=before + made.dataset()) == 0
        (key,) = served.spool.keys()
        with served.spool.path(key).open("rb") as file:
            preface = read_preface(file)
            assert file.read() == made.dataset()
    assert preface.transfer_syntax_uid == EXPLICIT_LE
    assert preface.meta[0x00020017].strip() == b"RAW"
    assert b"OTHERPACS" not in b"".join(preface.meta.values())


def test_file_meta_information_that_does_not_end_is_refused(served: Served) -> None:
    made, endless = Made(), implicit(2, 0x0102, b"")[:4] + b"\xff\xff\xff\x7f"
    with Wire(served.port) as wire:
        wire.associate()
        for before in (endless, meta(0x0102, b"SH", b"") * 2000):
            assert store(wire, made, data=before + made.dataset()) == 0xC210
        assert store(wire, made) == 0
