"""Messages that arrive fragment by fragment."""

from __future__ import annotations

import struct

import pytest

from dicom_io.reasons import Reason
from dicom_io.upper_layer.command_set import read_command
from dicom_io.upper_layer.fragments import MAX_COMMAND_BYTES, Fragments, ends_command
from dicom_io.upper_layer.violation import Violation
from tests.support.wire import COMMAND, LAST, echo_command, element, item, store_command

LIMIT = 1000


CONTEXTS = {1, 3}
RESPONSE = element(0x0100, b"\x01\x80") + element(0x0120, b"\1\0") + element(0x0800, b"\x01\x01")
COMMAND_SET = store_command("1.2.3")


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
