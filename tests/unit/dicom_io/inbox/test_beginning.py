"""What the beginning of a data set says, read quickly where it is usual and by the parser where it is not."""

from __future__ import annotations

import io
import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.errors import HeaderUnreadable
from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.header.part10 import data_set_offset
from dicom_io.header.reader import _read, identify
from dicom_io.inbox import beginning
from dicom_io.inbox.beginning import BEGINNING_BYTES, Beginning, read_beginning
from tests.support.objects import EXPLICIT_LE, Made

USUAL = Made(sop_uid="1.2.3.4", study_uid="1.2", series_uid="1.2.3", pixel_bytes=100).dataset()
META = encode_file_meta(ObjectUids("1.2", "1.2.3.4", EXPLICIT_LE), Sender("A", "B", "127.0.0.1"), "B")
PIECES = (
    b"\x08\x00\x16\x00UI\x04\x001.2\0",
    b"\x08\x00\x18\x00UI\x04\x001.3 ",
    b"\x20\x00\x0d\x00UI\x08\x001.2\\1.3\0",
    b"\x20\x00\x0e\x00LO\x04\x001.4\0",
    b"\x20\x00\x0e\x00UI\x00\x00",
    b"\x08\x00\x18\x00SQ\x00\x00\x00\x00\x00\x00",
    b"\x08\x00\x05\x00CS\x00\x00",
    b"\x29\x00\x10\x10OB\x00\x00\x04\x00\x00\x00abcd",
    b"\x29\x00\x10\x10UN\x00\x00\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x08\x00\x60\x00\x02\x00\x00\x00CR",
    b"\xfe\xff\x00\xe0\x00\x00\x00\x00",
    b"\x02\x00\x10\x00UI\x04\x001.2\0",
    b"\x10\x00\x10\x00PN\xff\xff",
    b"\xe0\x7f\x10\x00OW\x00\x00\x02\x00\x00\x00xy",
    b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff",
    b"\x00",
)


@st.composite
def data_sets(draw: st.DrawFn) -> bytes:
    """Elements in any order, whole or cut, with some of their bytes changed."""
    data = bytearray(b"".join(draw(st.lists(st.one_of(st.sampled_from(PIECES), st.just(USUAL)), max_size=12))))
    for _ in range(draw(st.integers(0, 2))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(data_sets())
def test_what_is_read_quickly_is_what_the_parser_reads(data: bytes) -> None:
    quick = beginning._usual_beginning(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginning, "_usual_beginning", lambda _: None)
        slow = read_beginning(data, EXPLICIT_LE)
    assert quick in (None, slow)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(data_sets())
def test_what_is_found_holds_for_the_whole(data: bytes) -> None:
    found = read_beginning(data, EXPLICIT_LE)
    if found is None:
        return
    assert data_set_offset(data, EXPLICIT_LE) == 0
    assert found.identity == identify(data, EXPLICIT_LE)
    assert found.pixels_at is not None
    facts, offset, pixels = _read(io.BytesIO(META + data))
    assert (offset, pixels.at, pixels.length) == (len(META), len(META) + found.pixels_at, found.pixels_length)
    assert facts.sop_uid == found.identity.sop_uid


def test_a_usual_object_is_read_quickly() -> None:
    found = beginning._usual_beginning(USUAL)
    assert found is not None
    assert found.identity == identify(USUAL, EXPLICIT_LE)
    assert USUAL[found.pixels_at :] == bytes(100)
    encapsulated = USUAL[: found.pixels_at - 4] + b"\xff\xff\xff\xff"  # type: ignore[operator]
    assert beginning._usual_beginning(encapsulated) == Beginning(found.identity, found.pixels_at, sys.maxsize)


def test_pixels_behind_the_beginning_are_not_looked_for() -> None:
    long = Made(changes={0x00291010: (b"OB", bytes(BEGINNING_BYTES))}).dataset()
    assert read_beginning(long, EXPLICIT_LE) is None


def test_a_header_that_cannot_be_read_says_nothing() -> None:
    damaged = struct.pack("<HH2sHL", 8, 0x16, b"UN", 0, 0x01000000) + bytes(100)
    with pytest.raises(HeaderUnreadable):
        identify(damaged, EXPLICIT_LE)
    assert read_beginning(damaged, EXPLICIT_LE) is None
