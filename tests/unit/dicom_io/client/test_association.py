"""Requests of a peer over an association that we opened."""

from __future__ import annotations

from dicom_io.client.association import usable
from dicom_io.upper_layer.command_set import read_command
from tests.support.wire import COMMAND, LAST, element, store_command

RESPONSE = element(0x0100, b"\x01\x80") + element(0x0120, b"\1\0") + element(0x0800, b"\x01\x01")
COMMAND_SET = store_command("1.2.3")


def test_a_request_over_an_association_of_ours_is_passed_on_like_one_of_a_peers() -> None:
    odd = COMMAND_SET.replace(element(0x0700, b"\2\0"), element(0x0700, b"\3\0"))
    header = bytes([COMMAND | LAST])
    assert usable(header + odd) == header + read_command(COMMAND_SET).encoded
    for other in (header + RESPONSE, bytes([COMMAND]) + odd, bytes([LAST]) + b"data", header + odd[:-1], b""):
        assert usable(other) == other
