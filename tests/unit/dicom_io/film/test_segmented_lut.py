"""Segmented palettes: expanded as pydicom does, and never beyond the count of the descriptor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.processing import apply_color_lut

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from dicom_io.film.segmented_lut import read_segmented_lut
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.reasons import Reason
from tests.support.films import film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

DISCRETE, LINEAR, INDIRECT = 0, 1, 2
PIXELS = ramp(dtype=np.uint8, top=255)


def with_segments(words: list[int], *, count: int = 256, bits: int = 16, folder: Path) -> Path:
    data = np.array(words, dtype=f"<u{bits // 8}").tobytes()
    elements: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [count, 0, bits]
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = data + bytes(len(data) % 2)
    return save(film(PIXELS, PhotometricInterpretation="PALETTE COLOR", **elements), folder)


def entries_of(path: Path) -> list[int] | None:
    lut = read_segmented_lut(read_stored_pixels(path).elements, 0x00281101, 0x00281221)
    return None if lut is None else lut.entries.tolist()


@pytest.mark.parametrize(
    ("words", "entries"),
    [
        ([DISCRETE, 4, 1, 2, 3, 9], [1, 2, 3, 9]),
        ([DISCRETE, 1, 0, LINEAR, 3, 30], [0, 10, 20, 30]),
        ([DISCRETE, 1, 30, LINEAR, 3, 0], [30, 20, 10, 0]),
        # 6 words are before the one that is copied: an offset of 12 bytes
        ([DISCRETE, 1, 7, DISCRETE, 1, 5, INDIRECT, 2, 0, 0], [7, 5, 7, 5]),
        ([DISCRETE, 1, 0, LINEAR, 1, 8, INDIRECT, 1, 6, 0, DISCRETE, 1, 3], [0, 8, 8, 3]),
        ([DISCRETE, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4]),
    ],
    ids=["discrete", "linear", "falling", "indirect", "indirect to a line", "too many"],
)
def test_segments_are_expanded_after_the_standard(words: list[int], entries: list[int], tmp_path: Path) -> None:
    assert entries_of(with_segments(words, count=4, folder=tmp_path)) == entries


def test_segments_of_8_bits_point_by_the_byte(tmp_path: Path) -> None:
    words = [DISCRETE, 1, 7, DISCRETE, 1, 5, INDIRECT, 1, 3, 0, 0, 0, LINEAR, 1, 200]
    assert entries_of(with_segments(words, count=4, bits=8, folder=tmp_path)) == [7, 5, 5, 200]


@pytest.mark.parametrize(
    "words",
    [
        [],
        [DISCRETE, 4, 1, 2],
        [LINEAR, 4, 9],
        [3, 4, 1, 2, 3, 4],
        [DISCRETE, 1, 7, INDIRECT, 4, 6, 0],
        [DISCRETE, 1, 7, INDIRECT, 4, 0xFFFF, 0xFFFF],
        [DISCRETE, 1, 7, *[DISCRETE, 0] * 20_000],
        [DISCRETE, 1, 7, *[INDIRECT, 0xFFFF, 0, 0] * 20_000],
    ],
    ids=["nothing", "cut short", "no start", "unknown", "itself", "beyond the end", "empty ones", "a bomb"],
)
def test_segments_that_give_too_few_entries_are_not_a_palette(words: list[int], tmp_path: Path) -> None:
    path = with_segments(words, count=0, folder=tmp_path)
    began = time.process_time()
    assert entries_of(path) is None
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    assert caught.value.reason is Reason.UNSUPPORTED_PHOTOMETRIC
    assert time.process_time() - began < 2


def test_no_more_is_made_than_the_descriptor_counts(tmp_path: Path) -> None:
    entries = entries_of(with_segments([DISCRETE, 1, 0, *[LINEAR, 0xFFFF, 65535] * 50_000], count=0, folder=tmp_path))
    assert entries is not None
    assert len(entries) == 65536


@pytest.mark.data
@pytest.mark.parametrize("name", ["gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"])
def test_a_real_segmented_palette_is_what_pydicom_expands(test_data: Path, name: str) -> None:
    path = next((test_data / "dicom").rglob(f"*{name}"))
    theirs = apply_color_lut(np.arange(1 << 16, dtype=np.uint16)[None], dcmread(path))[0]
    elements = read_stored_pixels(path).elements
    for at in range(3):
        ours = read_segmented_lut(elements, 0x00281101 + at, 0x00281221 + at)
        assert ours is not None
        assert np.abs(ours.entries.astype(int) - theirs[:, at]).max() <= 1
