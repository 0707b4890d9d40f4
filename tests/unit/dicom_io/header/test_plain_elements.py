"""Plain elements are read past the walk: whatever a header holds, both find the same."""

from __future__ import annotations

import io
import random
import struct
from typing import TYPE_CHECKING

import pytest

from dicom_io.errors import HeaderUnreadable
from dicom_io.header import digests, part10
from dicom_io.header.digests import film_header_sha256
from dicom_io.header.part10 import PIXEL_TAGS, UID_TAGS, parse
from dicom_io.header.walker import plain_elements
from tests.support.raw_elements import raw_element

if TYPE_CHECKING:
    from collections.abc import Iterable

EXPLICIT_LE = "1.2.840.10008.1.2.1"


def long_element(tag: int, vr: bytes, value: bytes) -> bytes:
    """An element whose length has 32 bits (PS3.5 Table 7.1-1)."""
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value


UID = raw_element("SOPInstanceUID", "UI", b"1.2.3\0")
PIXELS = long_element(0x7FE00010, b"OW", bytes(64))
ITEM, ITEM_END, SEQUENCE_END = (
    (0xFFFE).to_bytes(2, "little") + number for number in (b"\0\xe0", b"\x0d\xe0", b"\xdd\xe0")
)
ODD = {
    "a sequence of undefined length": b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
    + (ITEM + struct.pack("<L", len(UID)) + UID)
    + (SEQUENCE_END + bytes(4)),
    "a sequence that does not end": b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff",
    "an unknown representation": b"\x09\x00\x01\x00QQ\x02\0ab",
    "no representation": b"\x09\x00\x01\x00\x02\0\0\0ab",
    "small letters": b"\x09\x00\x01\x00ui\x02\0ab",
    "a delimiter": ITEM_END + bytes(4),
    "a delimiter with letters": ITEM_END + b"AE\0\0",
    "a length beyond the end": b"\x09\x00\x01\x00LO\xff\xffab",
    "a long length beyond the end": b"\x09\x00\x01\x00UT\0\0\xff\xff\xff\0ab",
    "a long value": long_element(0x00090001, b"UT", bytes(9000)),
    "an element twice": raw_element("SOPInstanceUID", "UI", b"1.2.4\0"),
    "a part of a head": b"\x09\x00\x01\x00U",
    "empty pixels": long_element(0x7FE00010, b"OW", b""),
    "pixels of floats": long_element(0x7FE00008, b"OF", bytes(8)),
    "an element after the pixels": PIXELS + long_element(0xFFFCFFFC, b"OB", bytes(2)),
    "pixels in fragments": b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + ITEM + bytes(4) + SEQUENCE_END + bytes(4),
}
PLAIN = [
    UID,
    raw_element("PatientName", "PN", b"DOE^JANE"),
    raw_element("Rows", "US", b"\0\x02"),
    raw_element("StudyDescription", "LO", b""),
    raw_element("PixelPaddingValue", "SS", b"\0\0"),
    long_element(0x00081140, b"SQ", ITEM + struct.pack("<L", len(UID)) + UID),
    long_element(0x00281201, b"OW", bytes(512)),
]


def found(data: bytes) -> object:
    """Everything that reading says about a header: each parse with the position after it, and the digest."""
    said: list[object] = []
    for wanted in (None, UID_TAGS):
        for stops in (True, False):
            fp = io.BytesIO(data)
            seen: list[tuple[int, str | None, int]] = []
            at: list[int] = []

            def stop(tag: int, vr: str | None, length: int, fp=fp, seen=seen, at=at, stops=stops) -> bool:
                seen.append((tag, vr, length))
                if tag in PIXEL_TAGS:
                    at.append(fp.tell())
                return stops and tag in PIXEL_TAGS

            try:
                ds = parse(fp, EXPLICIT_LE, stop_when=stop, wanted=wanted)
                said.append([ds.get_item(tag, keep_deferred=True) for tag in ds.keys()])  # noqa: SIM118
            except HeaderUnreadable:
                said.append("unreadable")
            said += [seen, at]
    return said + [film_header_sha256(io.BytesIO(data), 0, at, 64) for at in (len(data) - 64, len(data))]


@pytest.fixture
def by_the_walk(monkeypatch):
    def read(data: bytes) -> object:
        nothing: Iterable[object] = ()
        with monkeypatch.context() as patched:
            for module in (part10, digests):
                patched.setattr(module, "plain_elements", lambda _data: nothing)
            return found(data)

    return read


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_element_is_read_as_by_the_walk(odd, by_the_walk):
    for before in (b"", UID, b"".join(PLAIN)):
        for after in (b"", PIXELS, UID + PIXELS):
            data = before + ODD[odd] + after
            assert found(data) == by_the_walk(data)


def test_any_header_cut_anywhere_and_with_any_byte_changed_is_read_as_by_the_walk(by_the_walk):
    drawn = random.Random(7)
    for _ in range(300):
        parts = drawn.choices(PLAIN, k=drawn.randrange(1, 8)) + drawn.choices(
            [*ODD.values(), PIXELS], k=drawn.randrange(3)
        )
        drawn.shuffle(parts)
        data = bytearray(b"".join(parts)[: drawn.randrange(4, 1500)])
        if drawn.random() < 0.5:
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        assert found(bytes(data)) == by_the_walk(bytes(data))


def test_plain_elements_are_those_before_the_pixels():
    data = UID + PLAIN[2] + PIXELS
    read = list(plain_elements(data))
    assert [(tag, vr, data[begin:end]) for tag, vr, begin, end in read] == [
        (0x00080018, b"UI", b"1.2.3\0"),
        (0x00280010, b"US", b"\0\x02"),
    ]
    assert data[read[-1][3] :] == PIXELS


def test_an_item_whose_length_looks_like_a_representation_is_an_item():
    fragment = bytes(0x4444)
    value = ITEM + bytes(4) + ITEM + struct.pack("<L", len(fragment)) + fragment
    data = UID + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + value + SEQUENCE_END + bytes(4)
    ds = parse(io.BytesIO(data), EXPLICIT_LE, stop_when=lambda *_: False)
    assert ds.get_item(0x7FE00010).value == value
