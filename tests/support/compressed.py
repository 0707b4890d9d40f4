"""DICOM files around one compressed frame, and the reason for which a file is refused."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.encaps import encapsulate

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from tests.support.films import film, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dicom_io.reasons import Reason


def compressed(folder: Path, pixels: NDArray[Any], syntax: str, code: bytes, **elements: Any) -> Path:
    """A film whose one frame is the given code stream."""
    ds = film(pixels, syntax=syntax, PixelData=encapsulate([code]), **elements)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return save(ds, folder)


def refusal(path: Path) -> Reason:
    """The reason for which no film can be made of a file."""
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    return caught.value.reason


def deflated(pixels: NDArray[Any]) -> bytes:
    """The pixels as a raw deflate stream."""
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(pixels.tobytes()) + machine.flush()
