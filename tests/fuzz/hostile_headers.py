"""Headers made to hurt, by name; each is written as a file, the large ones with holes."""

from __future__ import annotations

import time
import zlib
from functools import partial
from typing import TYPE_CHECKING

from tests.fuzz.headers import (
    DEFLATED,
    ITEM_END,
    PIXEL_DATA,
    PREAMBLE,
    PRIVATE_SEQUENCE,
    REGION_SEQUENCE,
    SEQUENCE_END,
    STUDY,
    UIDS,
    UNDEFINED,
    element,
    examine,
    item,
    part10,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GIB = 1 << 30
_OPEN_SEQUENCE = item(b"", UNDEFINED)


def _nested_undefined(tag: int, depth: int, *, is_closed: bool) -> bytes:
    level = element(tag, b"SQ", b"", UNDEFINED) + item(b"", UNDEFINED)
    ends = (ITEM_END + SEQUENCE_END) * depth if is_closed else b""
    return _between_uids(level * depth + ends)


def _nested_defined(tag: int, depth: int) -> bytes:
    """Sequences of defined length within each other: 12 bytes of element and 8 of item each."""
    heads = []
    for level in range(depth, 0, -1):
        inside = 20 * (level - 1)
        heads.append(element(tag, b"SQ", b"", inside + 8) + item(b"", inside))
    return _between_uids(b"".join(heads))


def _between_uids(data: bytes) -> bytes:
    return part10(UIDS + data + STUDY)


def _deflated_gigabyte(head: bytes) -> bytes:
    """A data set that inflates to a GiB: full flushes make blocks that can be repeated."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = machine.compress(head) + machine.flush(zlib.Z_FULL_FLUSH)
    block = machine.compress(bytes(16 << 20)) + machine.flush(zlib.Z_FULL_FLUSH)
    return part10(start + block * 64, DEFLATED)


SMALL: dict[str, Callable[[], bytes]] = {
    **{
        f"undefined length, {depth} deep, {what}, {end}": partial(
            _nested_undefined, tag, depth, is_closed=end == "closed"
        )
        for depth, end in ((10, "closed"), (10, "open"), (100, "closed"), (100_000, "closed"))
        for what, tag in (("wanted", REGION_SEQUENCE), ("unwanted", PRIVATE_SEQUENCE))
    },
    **{
        f"defined length, {depth} deep, {what}": partial(_nested_defined, tag, depth)
        for depth in (10, 100, 50_000, 100_000)
        for what, tag in (("wanted", REGION_SEQUENCE), ("unwanted", PRIVATE_SEQUENCE))
    },
    "100,000 elements": lambda: _between_uids(
        b"".join(element(0x00090000 | number, b"LO", b"ab") for number in range(0x1000, 0x10000)) * 2
    ),
    "elements without end": lambda: _between_uids(element(0x00091010, b"LO", b"") * 1_100_000),
    "130,000 items in a wanted sequence": lambda: _between_uids(element(REGION_SEQUENCE, b"SQ", item(b"") * 130_000)),
    "130,000 elements in a wanted item": lambda: _between_uids(
        element(REGION_SEQUENCE, b"SQ", item(element(0x00091010, b"LO", b"") * 130_000))
    ),
    "a character set of a million terms": lambda: part10(
        element(0x00080005, b"UT", b"ISO 2022 IR 87\\" * 60_000) + UIDS
    ),
    "a name of a million escapes": lambda: part10(UIDS + element(0x00100010, b"UT", b"\x1b$B" * 300_000)),
    "a name under a slow codec": lambda: part10(
        element(0x00080005, b"CS", b"punycode") + UIDS + element(0x00100010, b"UT", b"\xe9a-" * 300_000)
    ),
    "a name of combining marks": lambda: part10(UIDS + element(0x00100010, b"UT", "a\u0301\u0327".encode() * 200_000)),
    "a number of 60,000 digits": lambda: part10(UIDS + element(0x00280010, b"IS", b"9" * 60_000)),
    "a million numbers": lambda: part10(UIDS + element(0x00280010, b"UT", b"1\\" * 500_000)),
    "70,000 elements of file meta": lambda: PREAMBLE + element(0x00020099, b"LO", b"ab") * 70_000 + UIDS,
    "a deflated gigabyte": lambda: _deflated_gigabyte(UIDS + element(0x00091010, b"OB", b"", GIB)),
    "a sequence that holds itself shut": lambda: _between_uids(
        element(PRIVATE_SEQUENCE, b"SQ", SEQUENCE_END * 9, UNDEFINED)
    ),
    "fragments in a text": lambda: _between_uids(element(0x00081030, b"UT", item(b"ab") + SEQUENCE_END, UNDEFINED)),
}


_PICTURE = b"".join(
    element(tag, vr, value)
    for tag, vr, value in (
        (0x00280002, b"US", b"\1\0"),
        (0x00280004, b"CS", b"MONOCHROME2 "),
        (0x00280010, b"US", b"\0\2"),
        (0x00280011, b"US", b"\0\2"),
        (0x00280100, b"US", b"\x10\0"),
        (0x00280101, b"US", b"\x10\0"),
    )
)


def _film(pixels: bytes) -> bytes:
    return part10(UIDS + STUDY + _PICTURE + pixels)


FILMS: dict[str, Callable[[], bytes]] = {
    "pixels of a claimed 4 GB": lambda: _film(element(PIXEL_DATA, b"OW", bytes(1000), 0xFFFFFFFE)),
    "a fragment of a claimed 4 GB": lambda: _film(element(PIXEL_DATA, b"OB", item(bytes(1000), 0xFFFFFFFE), UNDEFINED)),
    "a deflated gigabyte of pixels": lambda: _deflated_gigabyte(
        UIDS + STUDY + _PICTURE + element(PIXEL_DATA, b"OW", b"", GIB)
    ),
    "a deflated gigabyte of something": SMALL["a deflated gigabyte"],
    "a LUT of a claimed GB": lambda: part10(UIDS + STUDY + _PICTURE + element(0x00283010, b"SQ", bytes(99), GIB)),
    "64 values of two MB": lambda: _film(
        b"".join(element(0x00660000 + number, b"OB", bytes(2 << 20)) for number in range(40))
    ),
    "a palette of odd length": lambda: part10(
        UIDS
        + STUDY
        + _PICTURE.replace(b"MONOCHROME2 ", b"PALETTE COLOR"[:12])
        + b"".join(element(0x00281101 + number, b"US", b"abc") for number in range(3))
        + element(PIXEL_DATA, b"OW", bytes(0x80000), None)
    ),
}


def _sparse(path: Path, pieces: list[tuple[bytes, int]], claim: int | None = None) -> None:
    """Pieces of data, each followed by so many bytes of nothing."""
    with path.open("wb") as file:
        for data, hole in pieces:
            file.write(data)
            file.seek(hole, 1)
        file.truncate(claim or file.tell())


def _giant(path: Path, name: str) -> None:
    head = part10(UIDS)
    fragments = [(item(b"", GIB // 8), GIB // 8)] * 8
    pieces = {
        "native pixels": [(head + element(PIXEL_DATA, b"OW", b"", GIB), GIB)],
        "encapsulated pixels": [(head + element(PIXEL_DATA, b"OB", b"", UNDEFINED), 0), *fragments, (SEQUENCE_END, 0)],
        "private fragments": [
            (head + element(0x00091010, b"OB", b"", UNDEFINED), 0),
            *fragments,
            (SEQUENCE_END + STUDY, 0),
        ],
        "a private value": [(head + element(0x00091010, b"UN", b"", GIB), GIB), (STUDY, 0)],
        "a wanted text": [(head + element(0x00081030, b"UT", b"", GIB), GIB), (STUDY, 0)],
        "a wanted sequence": [
            (head + element(REGION_SEQUENCE, b"SQ", b"", UNDEFINED), 0),
            *fragments,
            (SEQUENCE_END, 0),
        ],
        "an open item": [(head + element(REGION_SEQUENCE, b"SQ", b"", UNDEFINED) + _OPEN_SEQUENCE, 0), *fragments],
        "file meta": [(PREAMBLE, 0)]
        + [(element(0x00020000 | number, b"OB", b"", 1 << 20), 1 << 20) for number in range(0x100, 0x4E0)],
        "nothing but nulls": [(b"", GIB)],
        "nulls behind a preamble": [(PREAMBLE, GIB)],
    }[name]
    _sparse(path, pieces)


GIANT = (
    *("native pixels", "encapsulated pixels", "private fragments", "a private value", "a wanted text"),
    *("a wanted sequence", "an open item", "file meta", "nothing but nulls", "nulls behind a preamble"),
)


def examine_small(folder: Path) -> dict[str, tuple[str, float]]:
    """How each ended, and how long it took."""
    ended = {}
    for name, made in SMALL.items():
        path = folder / "small"
        path.write_bytes(made())
        ended[name] = _timed(path, examine)
    return ended


def examine_giant(folder: Path) -> dict[str, tuple[str, float]]:
    """The same for files of a gigabyte; their hash, which reads all of them, is left out."""
    from dicom_io.errors import HeaderUnreadable, NotDicom
    from dicom_io.header.reader import read_facts

    def facts_alone(path: Path) -> str:
        try:
            return "pixels" if read_facts(path).has_pixel_data else "facts"
        except (NotDicom, HeaderUnreadable) as error:
            return type(error).__name__

    ended = {}
    for name in GIANT:
        path = folder / "giant"
        _giant(path, name)
        ended[name] = _timed(path, facts_alone)
    return ended


def _timed(path: Path, read: Callable[[Path], str]) -> tuple[str, float]:
    # the processor's time: what else the machine does is not the header's fault
    started = time.process_time()
    ended = read(path)
    return ended, time.process_time() - started


def film_of_each(folder: Path) -> dict[str, tuple[str, float]]:
    """How the film of each ended: the step after the header, which keeps every value up to the pixels."""
    from dicom_io.errors import FilmError
    from dicom_io.film.film import film_of_dicom

    def film(path: Path) -> str:
        try:
            return film_of_dicom(path).sha256
        except FilmError as error:
            return str(error.reason)

    ended = {}
    for name, made in FILMS.items():
        path = folder / "film"
        path.write_bytes(made())
        ended[name] = _timed(path, film)
    return ended
