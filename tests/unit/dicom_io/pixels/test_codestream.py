"""What a code stream declares, and the bounds on the fragments and segments that are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest

from dicom_io.limits import MAX_SEGMENTS
from dicom_io.pixels.codestream import declared_by
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.pixels.syntaxes import Coding
from dicom_io.reasons import Reason
from tests.support.compressed import compressed, refusal
from tests.support.films import film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

JPEG = "1.2.840.10008.1.2.4.50"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
BYTES = ramp(dtype=np.uint8, top=255)
WORDS = ramp(top=4095)
COLOUR = np.dstack((BYTES, BYTES[::-1], BYTES // 2)).astype(np.uint8)


def test_a_code_stream_says_its_own_size_and_depth() -> None:
    stream = declared_by(bytes(imagecodecs.jpeg2k_encode(WORDS, codecformat="j2k", bitspersample=12)), Coding.JPEG_2000)
    assert (stream.rows, stream.columns, stream.components, stream.precision) == (160, 256, 1, 12)
    stream = declared_by(bytes(imagecodecs.jpeg8_encode(COLOUR)), Coding.JPEG)
    assert (stream.rows, stream.columns, stream.components, stream.precision) == (160, 256, 3, 8)
    assert stream.has_colour_marker


def _empty_fragments(count: int) -> bytes:
    """A basic offset table, empty fragments, and one that holds a picture."""
    code = bytes(imagecodecs.jpegls_encode(WORDS))
    empty = b"\xfe\xff\x00\xe0" + bytes(4)
    return empty * (1 + count) + b"\xfe\xff\x00\xe0" + len(code).to_bytes(4, "little") + code


@pytest.mark.parametrize("count", [MAX_SEGMENTS - 3, MAX_SEGMENTS])
def test_fragments_of_a_frame_are_counted(count: int, tmp_path: Path) -> None:
    ds = film(WORDS, syntax=JPEG_LS, BitsStored=12)
    ds.PixelData = _empty_fragments(count)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    path = save(ds, tmp_path)
    if count < MAX_SEGMENTS - 1:
        assert np.array_equal(read_stored_pixels(path).pixels, WORDS)
    else:
        assert refusal(path) is Reason.DECODE_FAILED


def _jpeg_with_fill(count: int) -> bytes:
    code = bytes(imagecodecs.jpeg8_encode(BYTES))
    return code[:2] + b"\xff" * count + code[2:]


def _j2k_with_comments(count: int) -> bytes:
    code = bytes(imagecodecs.jpeg2k_encode(BYTES, codecformat="j2k"))
    # behind the size segment, which must come first
    at = 4 + int.from_bytes(code[4:6], "big")
    return code[:at] + b"\xff\x64\x00\x04\x00\x01" * count + code[at:]


@pytest.mark.parametrize(("syntax", "made"), [(JPEG, _jpeg_with_fill), (JPEG_2000, _j2k_with_comments)])
def test_marker_segments_of_a_code_stream_are_counted(syntax: str, made: Any, tmp_path: Path) -> None:
    assert refusal(compressed(tmp_path, BYTES, syntax, made(MAX_SEGMENTS + 1))) is Reason.DECODE_FAILED
    assert read_stored_pixels(compressed(tmp_path, BYTES, syntax, made(1000))).pixels.shape == BYTES.shape
