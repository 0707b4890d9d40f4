"""Step 6b of the flow: which files are JPEG or PNG pictures, and the upright values of their pixels.

Cameras and scanners note how a picture must be turned (EXIF Orientation); Auscult turns it, as every viewer does.
Colour becomes grey by Pillow's ``convert("L")`` (luma of ITU-R BT.601), as it did for the training films. Transparency,
colour profiles, gamma and thumbnails are ignored.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from dicom_io.errors import FilmError
from dicom_io.limits import MAX_FILE_BYTES, MAX_PIXELS
from dicom_io.quiet import quiet_libraries
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PICTURE_ERRORS", "begins_like_picture", "is_picture", "picture_values", "size_of_picture"]

# What Pillow raises for damaged pictures; UnidentifiedImageError is an OSError.
PICTURE_ERRORS = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, struct.error)
_DECODE_ERRORS = (*PICTURE_ERRORS, KeyError, AttributeError, ArithmeticError, RuntimeError)
_FORMATS = ("JPEG", "PNG")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
#: The position of the bit depth in a PNG, and the EXIF tag of the orientation.
_BIT_DEPTH, _ORIENTATION = 24, 0x0112
#: Orientations in which rows and columns are exchanged.
_LYING = frozenset({5, 6, 7, 8})
#: Weights of BT.601 in 65,536ths, as in Pillow.
_LUMA = (19595, 38470, 7471)


def is_picture(path: Path) -> bool:
    """Whether a file begins like a JPEG or PNG picture; False for any other file and for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return begins_like_picture(file.read(132))
    except OSError:
        return False


def begins_like_picture(start: bytes) -> bool:
    """Whether the first 132 bytes are those of a JPEG or PNG picture."""
    # the preamble of a DICOM file may be the head of a picture (PS3.10 7.1)
    return start.startswith(_STARTS) and start[128:] != b"DICM"


def picture_values(path: Path) -> NDArray[np.uint8 | np.uint16]:
    """Read the grey values of a JPEG or PNG picture at full size, upright.

    Parameters
    ----------
    path : pathlib.Path
        The picture.

    Returns
    -------
    numpy.ndarray
        Shape (rows, columns): uint8, MONOCHROME2; or uint16 for a picture of 16 bits, of which the used range is
        unknown.

    Raises
    ------
    FilmError
        NOT_DICOM, TOO_LARGE, MULTI_FRAME (an animation) or DECODE_FAILED.
    OSError
        If the file cannot be read.
    """
    quiet_libraries()
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FilmError(Reason.TOO_LARGE)
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            _check(picture)
            is_deep = picture.format == "PNG" and data[_BIT_DEPTH] == 16
            values = _deep_values(data) if is_deep else np.asarray(picture.convert("L"))
            return np.ascontiguousarray(_upright(values, _orientation(picture)))
    except UnidentifiedImageError:
        raise FilmError(Reason.NOT_DICOM) from None
    except (Image.DecompressionBombError, MemoryError):
        raise FilmError(Reason.TOO_LARGE) from None
    except _DECODE_ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None


def size_of_picture(path: Path) -> tuple[int, int]:
    """Return rows and columns of the upright picture; raises OSError if the file is not a picture."""
    with Image.open(path, formats=_FORMATS) as picture:
        is_lying = _orientation(picture) in _LYING
        return (picture.width, picture.height) if is_lying else (picture.height, picture.width)


def _check(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise FilmError(Reason.TOO_LARGE)
    # a JPEG may hold a preview after the picture, which is ignored; no frame of an animation is the film
    if picture.format == "PNG" and getattr(picture, "is_animated", False):
        raise FilmError(Reason.MULTI_FRAME)


def _deep_values(data: bytes) -> NDArray[Any]:
    """Read a PNG of 16 bits; of colour Pillow would keep only the upper 8 bits, which may be empty."""
    samples = imagecodecs.png_decode(data)
    if samples.ndim == 2:
        return np.asarray(samples)
    if samples.shape[2] < 3:
        return np.asarray(samples[:, :, 0])
    luma = np.full(samples.shape[:2], 1 << 15, np.uint32)
    for band, weight in enumerate(_LUMA):
        luma += samples[:, :, band] * np.uint32(weight)
    return (luma >> 16).astype(np.uint16)


def _orientation(picture: Image.Image) -> int:
    """EXIF Orientation, 1 to 8; 1 (upright) if it is missing or unreadable."""
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except _DECODE_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror values to undo an EXIF Orientation (CIPA DC-008, 4.6.5.1.6)."""
    quarter_turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}[orientation]
    turned = np.rot90(values, quarter_turns)
    return np.fliplr(turned) if orientation in (2, 4, 5, 7) else turned
