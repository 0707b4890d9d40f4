"""Missing, damaged and hostile pixel data are refused with their reason, before a decoder takes time."""

from __future__ import annotations

import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest

from dicom_io.errors import FilmError
from dicom_io.pixels.codestream import declared_by
from dicom_io.pixels.syntaxes import CODINGS, Coding
from dicom_io.reasons import Reason
from tests.support.compressed import compressed, deflated, refusal
from tests.support.films import film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

JPEG = "1.2.840.10008.1.2.4.50"
JPEG_12 = "1.2.840.10008.1.2.4.51"
JPEG_LL = "1.2.840.10008.1.2.4.70"
DEFLATED = "1.2.840.10008.1.2.8.1"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"
BYTES = ramp(dtype=np.uint8, top=255)
WORDS = ramp(top=4095)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"PixelData": None}, Reason.NO_PIXEL_DATA),
        ({"PixelData": b""}, Reason.NO_PIXEL_DATA),
        ({"NumberOfFrames": "2"}, Reason.MULTI_FRAME),
        ({"PhotometricInterpretation": None}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"PhotometricInterpretation": "RGB"}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"PhotometricInterpretation": "HSV"}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"SamplesPerPixel": 2}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"BitsAllocated": 32, "BitsStored": 32}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"BitsStored": 17}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"BitsStored": 0}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"Rows": None}, Reason.DECODE_FAILED),
        ({"Columns": 0}, Reason.DECODE_FAILED),
        ({"Rows": 161}, Reason.DECODE_FAILED),
        ({"Rows": 60000, "Columns": 60000}, Reason.TOO_LARGE),
        ({"Rows": 100, "Columns": 100}, Reason.TOO_SMALL),
        ({"PixelData": bytes(160 * 256 * 2)}, Reason.CONSTANT_PICTURE),
    ],
)
def test_an_object_without_a_usable_picture_has_its_reason(
    elements: dict[str, Any], reason: Reason, tmp_path: Path
) -> None:
    assert refusal(save(film(WORDS, **elements), tmp_path)) is reason


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.102", "1.2.3"]
)
def test_a_coding_outside_the_table_is_refused(syntax: str, tmp_path: Path) -> None:
    path = compressed(tmp_path, WORDS, JPEG_LS, b"\xff\xd8")
    path.write_bytes(path.read_bytes().replace(JPEG_LS.encode().ljust(22, b"\0"), syntax.encode().ljust(22, b"\0"), 1))
    assert refusal(path) is Reason.UNSUPPORTED_TRANSFER_SYNTAX


def test_a_text_file_is_not_dicom(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("no film")
    assert refusal(path) is Reason.NOT_DICOM


def sof(marker: int, rows: int, columns: int, precision: int = 8) -> bytes:
    """A JPEG that declares any size and holds next to nothing."""
    frame = struct.pack(">BBHBHHB3B", 0xFF, marker, 11, precision, rows, columns, 1, 1, 0x11, 0)
    scan = struct.pack(">BBHB2B3B", 0xFF, 0xDA, 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + scan + b"\x00" * 8 + b"\xff\xd9"


def size_segment(rows: int, columns: int, tile: int = 1 << 16) -> bytes:
    """A JPEG 2000 code stream that declares any size and holds nothing."""
    head = struct.pack(">HHHIIIIIIIIH", 0xFF51, 41, 0, columns, rows, 0, 0, tile, tile, 0, 0, 1)
    return b"\xff\x4f" + head + bytes((15, 1, 1)) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("syntax", "code"),
    [
        (JPEG, sof(0xC0, 60_000, 60_000)),
        (JPEG_12, sof(0xC1, 60_000, 60_000, 12)),
        (JPEG_LL, sof(0xC3, 60_000, 60_000, 12)),
        (JPEG_LS, sof(0xF7, 60_000, 60_000, 12)),
        (JPEG_2000, size_segment(60_000, 60_000)),
        (HTJ2K, size_segment(60_000, 60_000)),
        (JPEG_2000, size_segment(160, 256, tile=1)),
        (RLE, struct.pack("<16L", 15, *range(64, 79))),
    ],
    ids=["jpeg", "jpeg 12 bits", "jpeg lossless", "jpeg-ls", "jpeg 2000", "htj2k", "jpeg 2000 tiles", "rle"],
)
@pytest.mark.parametrize("honest", [True, False], ids=["header says so too", "header says less"])
def test_a_decode_bomb_is_refused_before_any_decoder_runs(
    syntax: str, code: bytes, honest: bool, tmp_path: Path
) -> None:
    size = {"Rows": 60_000, "Columns": 60_000} if honest else {}
    path = compressed(tmp_path, WORDS, syntax, code, BitsStored=12, **size)
    began = time.process_time()
    assert refusal(path) is (Reason.TOO_LARGE if honest else Reason.DECODE_FAILED)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "code",
    [
        deflated(np.zeros((16384, 16384), dtype=np.uint8)),
        deflated(WORDS)[:-3],
        deflated(WORDS[:-1]),
        deflated(np.vstack((WORDS, WORDS[:1]))),
    ],
    ids=["bomb", "cut short", "a row too few", "a row too many"],
)
def test_a_deflated_frame_has_exactly_the_size_the_header_says(code: bytes, tmp_path: Path) -> None:
    began = time.process_time()
    assert refusal(compressed(tmp_path, WORDS, DEFLATED, code, BitsStored=12)) is Reason.DECODE_FAILED
    assert time.process_time() - began < 1


def test_an_rle_bomb_expands_no_further_than_the_header_says(tmp_path: Path) -> None:
    code = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x55" * 1_000_000
    assert refusal(compressed(tmp_path, BYTES, RLE, code)) is Reason.DECODE_FAILED


@pytest.mark.parametrize("syntax", sorted(uid for uid, coding in CODINGS.items() if coding is not Coding.NATIVE))
@pytest.mark.parametrize(
    "code", [b"\0\0", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0" * 100, b"\xff\xd8" + b"\xff" * 400], ids=range(5)
)
def test_a_damaged_code_stream_is_refused(syntax: str, code: bytes, tmp_path: Path) -> None:
    assert refusal(compressed(tmp_path, WORDS, syntax, code, BitsStored=12)) is Reason.DECODE_FAILED


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEG_LL, lambda a: imagecodecs.jpeg8_encode(a, lossless=True, bitspersample=12)),
        (JPEG_LS, imagecodecs.jpegls_encode),
        (JPEG_2000, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True, level=0)),
        (HTJ2K, imagecodecs.htj2k_encode),
    ],
    ids=["jpeg", "jpeg-ls", "jpeg 2000", "htj2k"],
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_a_code_stream_cut_short_is_refused_and_never_shown_half_grey(
    syntax: str, encode: Any, share: float, tmp_path: Path
) -> None:
    code = encode(WORDS)
    path = compressed(tmp_path, WORDS, syntax, code[: round(len(code) * share)], BitsStored=12)
    assert refusal(path) is Reason.DECODE_FAILED


def test_an_error_that_openjph_could_not_raise_fails_the_film_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = bytearray(imagecodecs.htj2k_encode(np.random.default_rng(4).integers(0, 4096, (160, 256), dtype=np.uint16)))
    hooks = sys.excepthook, sys.unraisablehook
    at = code.index(b"\xff\x93") + 2
    code[at + 20_000 : at + 40_000] = bytes(20_000)
    assert refusal(compressed(tmp_path, WORDS, HTJ2K, bytes(code), BitsStored=12)) is Reason.DECODE_FAILED
    assert capfd.readouterr() == ("", "")
    assert (sys.excepthook, sys.unraisablehook) == hooks


def test_a_jpeg_with_two_frame_headers_is_refused() -> None:
    twice = sof(0xC0, 160, 256)
    start = twice.index(b"\xff\xc0")
    with pytest.raises(FilmError):
        declared_by(twice[:2] + twice[start : start + 13] + twice[2:], Coding.JPEG)
