"""Command sets, reduced to the elements that are used."""

from __future__ import annotations

import pytest

from dicom_io.upper_layer.command_set import read_command
from tests.support.objects import CR
from tests.support.wire import element, store_command

RESPONSE = element(0x0100, b"\x01\x80") + element(0x0120, b"\1\0") + element(0x0800, b"\x01\x01")


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


def encoded(elements: dict[int, bytes]) -> bytes:
    return b"".join(element(number, elements[number]) for number in sorted(elements))


COMMAND_SET = store_command("1.2.3")


def test_responses_are_told_from_requests() -> None:
    assert [read_command(command).is_request for command in (COMMAND_SET, RESPONSE)] == [True, False]
    assert [read_command(command).has_data_set for command in (COMMAND_SET, RESPONSE)] == [True, False]
