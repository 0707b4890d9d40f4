"""Code streams and fragments that claim what they do not hold: each is a few bytes and asks for much."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np

from tests.fuzz.codestreams import (
    DEFLATED,
    DELIMITER,
    HTJ2K,
    ITEM,
    J2K,
    JPEG,
    JPEG_12,
    JPEG_LS,
    JPEG_SV1,
    RLE,
    Seed,
    deflate,
    end_of,
    seeds,
)

BYTES, WORDS = np.zeros((80, 96), dtype=np.uint8), np.zeros((80, 96), dtype=np.uint16)
END = b"\xff\xd9"


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">HH", marker, len(body) + 2) + body


def frame(marker: int, rows: int, columns: int, precision: int = 8, components: int = 1, sampling: int = 0x11) -> bytes:
    parts = b"".join(bytes((number, sampling, 0)) for number in range(components))
    return segment(marker, struct.pack(">BHHB", precision, rows, columns, components) + parts)


def jpeg(*segments: bytes, scans: int = 1) -> bytes:
    scan = segment(0xFFDA, b"\x01\x00\x00\x00\x3f\x00") + bytes(4)
    return b"\xff\xd8" + b"".join(segments) + scan * scans + END


def size(
    rows: int = 80,
    columns: int = 96,
    tile: tuple[int, int] = (96, 80),
    components: int = 1,
    kind: bytes = b"\x07\x01\x01",
    origin: tuple[int, int] = (0, 0),
    capabilities: int = 0,
) -> bytes:
    left, top = origin
    numbers = (capabilities, columns, rows, left, top, *tile, 0, 0, components)
    return segment(0xFF51, struct.pack(">H8LH", *numbers) + kind * components)


def style(
    levels: int = 3, block: tuple[int, int] = (4, 4), layers: int = 1, precincts: bytes = b"", ht: bool = False
) -> bytes:
    general = struct.pack(">BBHB", int(bool(precincts)), 0, layers, 0)
    return segment(0xFF52, general + bytes((levels, *block, 0x40 if ht else 0, 1)) + precincts)


STEPS = segment(0xFF5C, b"\x20" + b"\x48" * 97)


def j2k(*segments: bytes, part: bytes = b"", length: int | None = None) -> bytes:
    length = 14 + len(part) if length is None else length
    start = struct.pack(">HHHLBB", 0xFF90, 10, 0, length, 0, 1)
    return b"\xff\x4f" + b"".join(segments) + start + b"\xff\x93" + part + END


def box(kind: bytes, length: int, more: bytes = b"") -> bytes:
    return struct.pack(">L4s", length, kind) + more


def rle_head(count: int, *offsets: int) -> bytes:
    return struct.pack("<16L", count, *offsets, *[0] * (15 - len(offsets)))


SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
THUMBNAIL = segment(0xFFE1, b"Exif\0\0" + jpeg(frame(0xFFC0, 80, 96)))
#: name -> (transfer syntax, code stream); the header says 80 x 96 of one sample.
LIES: dict[str, tuple[str, bytes]] = {
    "jpeg, large behind a thumbnail": (JPEG, jpeg(THUMBNAIL, frame(0xFFC0, 65535, 65535))),
    "jpeg, two frames": (JPEG, jpeg(frame(0xFFC0, 80, 96), frame(0xFFC0, 65535, 65535))),
    "jpeg, no rows": (JPEG, jpeg(frame(0xFFC0, 0, 96))),
    "jpeg, no columns": (JPEG, jpeg(frame(0xFFC0, 80, 0))),
    "jpeg, 255 components": (JPEG, jpeg(frame(0xFFC0, 80, 96, components=255))),
    "jpeg, sampling of 15": (JPEG, jpeg(frame(0xFFC0, 80, 96, sampling=0xFF))),
    "jpeg, 5000 scans": (JPEG, jpeg(frame(0xFFC2, 80, 96), scans=5000)),
    "jpeg, arithmetic": (JPEG, jpeg(frame(0xFFC9, 80, 96))),
    "jpeg, 65000 comments": (JPEG, jpeg(segment(0xFFFE, b"") * 65000, frame(0xFFC0, 80, 96))),
    "jpeg, only fill bytes": (JPEG, b"\xff\xd8" + b"\xff" * 100_000 + END),
    "jpeg 12, precision of 255": (JPEG_12, jpeg(frame(0xFFC1, 80, 96, 255))),
    "jpeg lossless, nothing coded": (JPEG_SV1, jpeg(frame(0xFFC3, 80, 96, 12))),
    "jpeg-ls, large": (JPEG_LS, jpeg(frame(0xFFF7, 65535, 65535))),
    "jpeg-ls, larger still by LSE": (JPEG_LS, jpeg(segment(0xFFF8, b"\x04\x04" + b"\x7f" * 8), frame(0xFFF7, 0, 0))),
    "jpeg-ls, right size and larger by LSE": (
        JPEG_LS,
        jpeg(segment(0xFFF8, b"\x04\x04" + b"\x7f" * 8), frame(0xFFF7, 80, 96)),
    ),
    "jpeg-ls, an end before the scan alone": (
        JPEG_LS,
        b"\xff\xd8"
        + segment(0xFFE8, b"SPIFF\0\2\0\0\1\0\0\0\x50\x10\0\0\x60\x0a\x08\6\1\0\0\1\x2c\0\0\1\x2c")
        + segment(0xFFE8, b"\0\0\0\1\xff\xd9")
        + frame(0xFFF7, 80, 96)
        + segment(0xFFDA, b"\1\1\0\0\0\0")
        + b"\5\xa5\x10\3\xfe\xd9",
    ),
    "rle, no segments": (RLE, rle_head(0)),
    "rle, 255 segments": (RLE, rle_head(255)),
    "rle, beyond the end": (RLE, rle_head(1, 0x7FFFFFFF) + b"\x81\x55" * 60),
    "rle, before the start": (RLE, rle_head(1, 0) + b"\x81\x55" * 60),
    "rle, a bomb": (RLE, rle_head(1, 64) + b"\x81\x55" * 500_000),
    "rle, nothing": (RLE, b""),
    "deflated, a bomb": (DEFLATED, deflate(bytes(64 << 20))),
    "deflated, nothing": (DEFLATED, b""),
    "deflated, stored blocks of nothing": (DEFLATED, b"\x00\x00\x00\xff\xff" * 100_000),
    "jp2, a box that is its own next": (J2K, SIGNATURE + box(b"ftyp", 0)),
    "jp2, a box of 2 ** 64 bytes": (J2K, SIGNATURE + box(b"ftyp", 1, b"\xff" * 8)),
    "jp2, no code stream": (J2K, SIGNATURE + box(b"ftyp", 8) * 1000),
}
_COUNTED: dict[str, tuple[bytes, ...]] = {
    "large": (size(65535, 65535, (65535, 65535)), style()),
    "tiles of one pixel": (size(tile=(1, 1)), style()),
    "no tiles": (size(tile=(0, 0)), style()),
    "16384 components": (size(components=16384), style()),
    "38 bits": (size(kind=b"\x25\x01\x01"), style()),
    "no subsampling at all": (size(kind=b"\x07\x00\x00"), style()),
    "subsampled": (size(kind=b"\x07\xff\xff"), style()),
    "inside out": (size(origin=(96, 80)), style()),
    "33 levels": (size(), style(levels=33)),
    "blocks of 2 ** 17": (size(), style(block=(15, 15))),
    "precincts of one pixel": (size(), style(precincts=bytes(4))),
    "65535 layers": (size(), style(layers=65535, precincts=b"\x11" * 4)),
    "steps of 38 bits": (size(), style(), segment(0xFF5C, b"\xe2" + b"\xff" * 20)),
    "no style": (size(),),
    "nothing coded": (size(), style(), STEPS),
}
for _name, _segments in _COUNTED.items():
    LIES[f"j2k, {_name}"] = (J2K, j2k(*_segments))
    LIES[f"htj2k, {_name}"] = (HTJ2K, j2k(*_segments))
LIES["j2k, a tile part beyond the end"] = (J2K, j2k(size(), style(), STEPS, length=1 << 31))
LIES["htj2k, a tile part beyond the end"] = (HTJ2K, j2k(size(), style(), STEPS, length=1 << 31))
LIES["htj2k, 65535 tile parts"] = (HTJ2K, j2k(size(), style(), STEPS)[:-2] * 1 + j2k()[2:-2] * 65535 + END)

#: The header says 8000 x 8000, as the code stream does, and there is next to nothing coded.
HONEST: dict[str, tuple[str, bytes]] = {
    "jpeg": (JPEG, jpeg(frame(0xFFC0, 8000, 8000))),
    "jpeg lossless": (JPEG_SV1, jpeg(frame(0xFFC3, 8000, 8000))),
    "jpeg-ls": (JPEG_LS, jpeg(frame(0xFFF7, 8000, 8000))),
    "rle": (RLE, rle_head(1, 64) + b"\x81\x55" * 100),
    "deflated": (DEFLATED, deflate(bytes(1 << 20))),
    "j2k": (J2K, j2k(size(8000, 8000, (8000, 8000)), style(), STEPS)),
    "j2k, smallest blocks": (J2K, j2k(size(8000, 8000, (8000, 8000)), style(block=(0, 0)), STEPS)),
    "j2k, smallest precincts": (J2K, j2k(size(8000, 8000, (8000, 8000)), style(precincts=b"\x11" * 4), STEPS)),
    "j2k, smallest tiles": (J2K, j2k(size(8000, 8000, (8, 8)), style(), STEPS)),
    "htj2k": (HTJ2K, j2k(size(8000, 8000, (8000, 8000), capabilities=0x4000), style(ht=True), STEPS)),
}


def ends_of_lies() -> dict[str, str]:
    """The end of each lie, by its name."""
    return _ends(LIES, 80, 96)


def ends_of_honest_claims() -> dict[str, str]:
    """The end of each large picture of nothing, by its name."""
    return _ends(HONEST, 8000, 8000)


def _ends(streams: dict[str, tuple[str, bytes]], rows: int, columns: int) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-") as folder:
        path = Path(folder, "film.dcm")
        return {
            name: end_of(Seed(syntax, BYTES, b"").file(code, rows, columns), path)
            for name, (syntax, code) in streams.items()
        }


def ends_of_fragments() -> dict[str, str]:
    """The end of each way to take a good stream to pieces, by its name."""
    seed = next(seed for seed in seeds() if seed.syntax == JPEG_LS and seed.samples == 1)
    code = seed.code + bytes(len(seed.code) % 2)
    whole, table = ITEM + struct.pack("<L", len(code)) + code, ITEM + bytes(4)
    pairs = b"".join(ITEM + b"\2\0\0\0" + code[at : at + 2] for at in range(0, len(code), 2))
    values = {
        "good": table + whole + DELIMITER,
        "a fragment for each two bytes": table + pairs + DELIMITER,
        "100000 empty fragments": table + (ITEM + bytes(4)) * 100_000 + whole + DELIMITER,
        "a table of a million offsets": ITEM + struct.pack("<L", 4 << 20) + bytes(4 << 20) + whole + DELIMITER,
        "no delimiter": table + whole,
        "longer than the data": table + ITEM + struct.pack("<L", 0x7FFFFFFE) + code + DELIMITER,
        "a fragment without a length": table + ITEM + b"\xff" * 4 + whole + DELIMITER + DELIMITER,
        "fragments within fragments": table + (ITEM + b"\xff" * 4) * 5000 + whole + DELIMITER * 5000,
        "no fragment": table + DELIMITER,
        "nothing": DELIMITER,
        "other items": table + b"\xfe\xff\x0d\xe0" + bytes(4) + whole + DELIMITER,
    }
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-") as folder:
        path = Path(folder, "film.dcm")
        return {name: end_of(seed.file_of(value), path) for name, value in values.items()}
