"""Parts of JPEG 2000 pictures: the same values as in the whole picture, and errors instead of whatever is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest

from dicom_io.errors import FilmError
from dicom_io.pixels.openjpeg import CodeStream
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS, COLUMNS = 700, 900
PARTS = {
    "all of it": (0, 0, ROWS, COLUMNS),
    "one pixel": (333, 512, 334, 513),
    "within a block": (264, 136, 376, 248),
    "across blocks": (100, 60, 400, 700),
    "the last corner": (640, 820, ROWS, COLUMNS),
}


def picture() -> NDArray[np.uint16]:
    y, x = np.mgrid[:ROWS, :COLUMNS]
    noise = np.random.default_rng(4).normal(0, 30, (ROWS, COLUMNS))
    return np.asarray((2000 + 1500 * np.sin(x / 40) * np.cos(y / 60) + noise).clip(0, 4095).astype(np.uint16))


def encoded(**options: Any) -> bytes:
    given: dict[str, Any] = {"level": 0, "bitspersample": 12, "resolutions": 6, "codecformat": "j2k"} | options
    return bytes(imagecodecs.jpeg2k_encode(picture(), **given))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_lossless_picture_has_the_values_that_were_coded(part: str) -> None:
    top, left, bottom, right = PARTS[part]
    with CodeStream(encoded(reversible=True)) as code:
        found = code.window(top, left, bottom, right)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, picture()[top:bottom, left:right])


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_lossy_picture_has_the_values_of_the_whole_one(part: str) -> None:
    top, left, bottom, right = PARTS[part]
    data = encoded(reversible=False, level=50)
    whole = imagecodecs.jpeg2k_decode(data)[top:bottom, left:right].astype(int)
    with CodeStream(data) as code:
        found = code.window(top, left, bottom, right)
    assert np.abs(found - whole).max() <= 1


def test_parts_may_follow_one_another_in_any_order_and_overlap() -> None:
    pixels = picture()
    with CodeStream(encoded(reversible=True)) as code:
        for top, left, bottom, right in [*PARTS.values(), *reversed(PARTS.values())]:
            found = code.window(top, left, bottom, right)
            np.testing.assert_array_equal(found, pixels[top:bottom, left:right])


def test_a_part_stays_as_it_is_when_the_next_one_is_decoded() -> None:
    with CodeStream(encoded(reversible=True)) as code:
        first = code.window(0, 0, 64, 64)
        code.window(100, 100, 164, 164)
    np.testing.assert_array_equal(first, picture()[:64, :64])


@pytest.mark.parametrize("data", [b"", b"\xff\x4f\xff\x51", b"not a code stream" * 10], ids=["empty", "start", "words"])
def test_what_is_no_code_stream_is_refused(data: bytes) -> None:
    with pytest.raises(FilmError) as caught:
        CodeStream(data)
    assert caught.value.reason is Reason.DECODE_FAILED


def test_a_stream_without_its_data_is_refused() -> None:
    data = encoded(reversible=True)
    start = data.index(b"\xff\x93")
    with pytest.raises(FilmError) as caught, CodeStream(data[: start + 2]) as code:
        code.window(0, 0, 64, 64)
    assert caught.value.reason is Reason.DECODE_FAILED


@pytest.mark.parametrize("part", [(0, 0, ROWS, COLUMNS + 1), (ROWS, 0, ROWS + 5, 5), (5, 5, 5, 5)], ids=str)
def test_a_part_that_is_not_in_the_picture_is_refused(part: tuple[int, int, int, int]) -> None:
    with CodeStream(encoded(reversible=True)) as code, pytest.raises(FilmError) as caught:
        code.window(*part)
    assert caught.value.reason is Reason.DECODE_FAILED


def test_it_may_be_closed_twice() -> None:
    code = CodeStream(encoded(reversible=True))
    code.close()
    code.close()
