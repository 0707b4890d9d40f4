"""Grey films that are stored in colour give the same greys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dicom_io.film.film import film_of_dicom
from tests.support.films import film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

BYTES = ramp(dtype=np.uint8, top=255)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_grey_stored_as_ybr_is_the_same_grey(photometric: str, tmp_path: Path) -> None:
    if photometric == "YBR_FULL":
        pixels = np.dstack((BYTES, np.full_like(BYTES, 128), np.full_like(BYTES, 128)))
        ds = film(pixels, PhotometricInterpretation=photometric)
    else:
        grey = BYTES.reshape(160, 128, 2)
        neutral = np.full_like(grey, 128)
        packed = np.concatenate((grey, neutral), axis=2)
        ds = film(np.dstack([BYTES] * 3), PhotometricInterpretation=photometric, PixelData=packed.tobytes())
    assert np.array_equal(film_of_dicom(save(ds, tmp_path)).pixels, BYTES)


def test_grey_stored_as_rgb_is_the_same_grey(tmp_path: Path) -> None:
    assert np.array_equal(film_of_dicom(save(film(np.dstack([BYTES] * 3)), tmp_path)).pixels, BYTES)
    deep = np.dstack([BYTES.astype(np.uint16) << 8] * 3)
    assert np.array_equal(film_of_dicom(save(film(deep), tmp_path)).pixels, BYTES)


def test_grey_in_a_palette_is_the_same_grey(tmp_path: Path) -> None:
    elements: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{colour}PaletteColorLookupTableData"] = (np.arange(256, dtype="<u2") * 257).tobytes()
    ds = film(255 - BYTES, PhotometricInterpretation="PALETTE COLOR", **elements)
    assert np.array_equal(film_of_dicom(save(ds, tmp_path)).pixels, 255 - BYTES)
