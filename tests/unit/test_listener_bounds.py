"""The listener's bounds without a network: fragments, the memory they share, and how refusals are counted."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from dicom_io import refusals as refusals_module
from dicom_io.association import usable
from dicom_io.budget import Budget
from dicom_io.command_set import read_command
from dicom_io.file_meta import Sender
from dicom_io.fragments import MAX_COMMAND_BYTES, Fragments, ends_command
from dicom_io.journal import Journal
from dicom_io.options import shown_ae_title
from dicom_io.reasons import Reason
from dicom_io.refusals import Refusals
from dicom_io.violation import Violation
from tests.objects import CR
from tests.waiting import wait_until
from tests.wire import COMMAND, LAST, echo_command, element, item, store_command

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1000
CONTEXTS = {1, 3}
RESPONSE = element(0x0100, b"\x01\x80") + element(0x0120, b"\1\0") + element(0x0800, b"\x01\x01")


def take(fragments: Fragments, body: bytes) -> tuple[bytes, bool]:
    """What is passed on of a PDU, as the bytes of its items, and whether a request has come in whole."""
    taken = fragments.take(memoryview(body), CONTEXTS)
    return b"".join(item(context_id, value[0], bytes(value[1:])) for context_id, value in taken.items), taken.request


def test_a_message_is_followed_from_its_first_fragment_to_its_last() -> None:
    fragments, command = Fragments(LIMIT), store_command("1.2.3")
    usable, echo = read_command(command).encoded, read_command(echo_command()).encoded
    steps = [
        (item(1, COMMAND, command[:20]), item(1, COMMAND, b""), False),
        (item(1, COMMAND | LAST, command[20:]), item(1, COMMAND | LAST, usable), False),
        (item(1, 0, bytes(400)), item(1, 0, bytes(400)), False),
        (item(1, LAST, bytes(600)), item(1, LAST, bytes(600)), True),
        (item(3, COMMAND | LAST, echo_command()), item(3, COMMAND | LAST, echo), True),
        (
            item(1, COMMAND | LAST, command) + item(1, LAST, bytes(10)),
            item(1, COMMAND | LAST, usable) + item(1, LAST, bytes(10)),
            True,
        ),
        (item(1, COMMAND | LAST, RESPONSE), item(1, COMMAND | LAST, RESPONSE), False),
    ]
    for body, passed_on, ends_request in steps:
        assert take(fragments, body) == (passed_on, ends_request)
    assert fragments.between_messages
    assert not fragments.overrun


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({0x0700: b"\3\0"}, id="a priority there is not"),
        pytest.param({0x0700: b""}, id="an empty priority"),
        pytest.param({0x0700: b"\0\0\0\0"}, id="a long priority"),
        pytest.param({0x1030: "RADIOLOGÍA".encode("latin-1")}, id="a move originator beyond ASCII"),
        pytest.param({0x1030: b"PACS\0\0\0\0", 0x1031: b"\1"}, id="a move originator padded with NUL, an odd number"),
        pytest.param({0x0000: b"\xff\xff\xff\xff"}, id="a wrong group length"),
        pytest.param({0x0001: b"\0\0", 0x5180: b"\xff\xfe"}, id="retired and unknown elements"),
        pytest.param({0x0002: CR.encode() + b" ", 0x1000: b"1.2.3\0\0\0"}, id="padding of UIDs"),
    ],
)
def test_of_a_command_set_only_what_is_used_is_passed_on(odd: dict[int, bytes]) -> None:
    used = {
        0x0002: CR.encode() + b"\0",
        0x0100: b"\1\0",
        0x0110: b"\1\0",
        0x0700: b"\0\0",
        0x0800: b"\1\0",
        0x1000: b"1.2.3\0",
    }
    sent = {**used, **odd}
    assert read_command(encoded(sent)).encoded == encoded(used)


def test_a_request_over_an_association_of_ours_is_passed_on_like_one_of_a_peers() -> None:
    odd = COMMAND_SET.replace(element(0x0700, b"\2\0"), element(0x0700, b"\3\0"))
    header = bytes([COMMAND | LAST])
    assert usable(header + odd) == header + read_command(COMMAND_SET).encoded
    for other in (header + RESPONSE, bytes([COMMAND]) + odd, bytes([LAST]) + b"data", header + odd[:-1], b""):
        assert usable(other) == other


def encoded(elements: dict[int, bytes]) -> bytes:
    return b"".join(element(number, elements[number]) for number in sorted(elements))


def test_nothing_is_passed_on_of_an_object_over_the_limit_and_all_of_the_next() -> None:
    fragments, command = Fragments(LIMIT), store_command("1.2.3")
    take(fragments, item(1, COMMAND | LAST, command))
    assert take(fragments, item(1, 0, bytes(LIMIT))) == (item(1, 0, bytes(LIMIT)), False)
    assert take(fragments, item(1, 0, b"x")) == (item(1, 0, b""), False)
    assert take(fragments, item(1, LAST, bytes(10))) == (item(1, LAST, b""), True)
    assert fragments.overrun
    both = item(1, COMMAND | LAST, command) + item(1, LAST, bytes(10))
    assert take(fragments, both)[0].endswith(item(1, LAST, bytes(10)))
    assert not fragments.overrun


def test_an_object_of_twice_the_limit_is_too_much() -> None:
    fragments = Fragments(LIMIT)
    take(fragments, item(1, COMMAND | LAST, store_command("1.2.3")))
    take(fragments, item(1, 0, bytes(2 * LIMIT)))
    with pytest.raises(Violation) as caught:
        take(fragments, item(1, 0, b"x"))
    assert caught.value.reason is Reason.OBJECT_TOO_LARGE


COMMAND_SET = store_command("1.2.3")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(5), id="half an item"),
        pytest.param(struct.pack(">LBB", 1, 1, 3), id="an item without its header"),
        pytest.param(struct.pack(">LBB", 100, 1, 3) + bytes(97), id="an item longer than the PDU"),
        pytest.param(item(5, COMMAND | LAST, COMMAND_SET), id="a context that was not accepted"),
        pytest.param(item(1, LAST, b"data"), id="data before a command"),
        pytest.param(item(1, COMMAND | LAST, COMMAND_SET) * 2, id="a command inside a data set"),
        pytest.param(item(3, COMMAND | LAST, echo_command()) * 2, id="two messages in a PDU"),
        pytest.param(item(1, COMMAND, bytes(MAX_COMMAND_BYTES + 1)), id="a command without end"),
        pytest.param(item(1, COMMAND | LAST, b""), id="an empty command"),
        pytest.param(item(1, COMMAND | LAST, COMMAND_SET + b"\0"), id="a command with a rest"),
        pytest.param(item(1, COMMAND | LAST, COMMAND_SET * 2), id="elements twice"),
        pytest.param(item(1, COMMAND | LAST, COMMAND_SET[:-1]), id="an element cut short"),
        pytest.param(item(1, COMMAND | LAST, struct.pack("<HHL", 8, 5, 0) + COMMAND_SET), id="another group"),
        pytest.param(
            item(1, COMMAND | LAST, COMMAND_SET.replace(b"\x01\x02\0\0\0\x01\0", b"")), id="command field cut out"
        ),
        pytest.param(
            item(1, COMMAND | LAST, COMMAND_SET.replace(element(0x0100, b"\1\0"), element(0x0100, b"\7\7"))),
            id="an unknown command",
        ),
        pytest.param(
            item(1, COMMAND | LAST, COMMAND_SET.replace(element(0x0800, b"\1\0"), b"")), id="no data set type"
        ),
    ],
)
def test_what_does_not_fit_together_is_a_violation(body: bytes) -> None:
    with pytest.raises(Violation) as caught:
        take(Fragments(LIMIT), body)
    assert caught.value.reason is Reason.PROTOCOL_ERROR


def test_responses_are_told_from_requests() -> None:
    assert [read_command(command).is_request for command in (COMMAND_SET, RESPONSE)] == [True, False]
    assert [read_command(command).has_data_set for command in (COMMAND_SET, RESPONSE)] == [True, False]


@pytest.mark.parametrize(
    ("sent", "ends"),
    [
        (bytes([COMMAND | LAST]) + RESPONSE, True),
        (bytes([COMMAND]) + RESPONSE[:7], False),
        (bytes([LAST]) + b"data", False),
        (b"", False),
    ],
)
def test_an_answer_has_gone_out_with_the_last_fragment_of_its_command(sent: bytes, ends: bool) -> None:
    assert ends_command(sent) is ends


def test_over_the_limit_only_the_oldest_goes_on() -> None:
    budget = Budget(100)
    assert budget.may_take("first")
    budget.take("first", 60)
    assert budget.may_take("second")
    budget.take("second", 60)
    assert [budget.may_take(holder) for holder in ("first", "second", "third")] == [True, False, False]
    assert budget.is_waited_for("first")
    assert not budget.is_waited_for("second")
    budget.take("first", 1000)
    assert budget.total == 1120
    budget.release("first")
    assert budget.total == 60
    assert budget.may_take("third")
    budget.release("second")
    budget.release("never held anything")
    assert budget.total == 0


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def counts(journal: Journal) -> list[tuple[str, int]]:
    return [(record.calling_aet, record.count) for record in journal.drain().records]


def sender(title: str, host: str = "192.0.2.1") -> Sender:
    return Sender(title, "AUSCULT", host)


def test_repeats_are_noted_once_their_time_is_over_though_nobody_calls_any_more(journal: Journal) -> None:
    refusals = Refusals(journal, repeat_s=0.2)
    refusals.start()
    for _ in range(7):
        refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender("A"))
    refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender("B"))
    refusals.association(Reason.TLS_FAILED, sender("A"))
    wait_until(lambda: len(counts(journal)) == 4, what="the repeats to be noted")
    assert counts(journal) == [("A", 1), ("B", 1), ("A", 1), ("A", 6)]
    refusals.close()
    assert len(counts(journal)) == 4


def test_a_host_of_many_names_is_noted_by_its_address(journal: Journal) -> None:
    refusals = Refusals(journal)
    for number in range(100):
        refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender(f"A{number}"))
    refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender("OTHER", host="192.0.2.2"))
    refusals.close()
    told = counts(journal)
    assert len(told) == refusals_module._MAX_TITLES_OF_HOST + 3
    assert sum(count for _, count in told) == 101
    assert told[-1] == ("", 79)


def test_the_number_of_callers_told_apart_is_bounded(journal: Journal) -> None:
    refusals = Refusals(journal)
    for number in range(2 * refusals_module._MAX_CALLERS):
        refusals.association(Reason.TLS_FAILED, sender("", host=f"192.0.{number >> 8}.{number & 255}"))
    assert len(refusals._callers) == refusals_module._MAX_CALLERS + 1
    refusals.close()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [(b"PACS1", "PACS1"), (b"A\r\nB\0C", "A??B?C"), (b"\xc9" * 20, "?" * 16), ("É".encode(), "??")],
)
def test_titles_are_shown_without_what_could_harm(sent: bytes, shown: str) -> None:
    assert shown_ae_title(sent) == shown
