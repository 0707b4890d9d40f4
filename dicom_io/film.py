"""Step 6 of the flow: the film, the one decoded form that everything later uses.

A film is 8-bit grey, MONOCHROME2, its shortest side 256 to 512 pixels (smaller originals keep their size; nothing is
ever enlarged). It comes from the full-size picture by ``greyscale`` and a mean over blocks of 2, 4, 8, ... pixels a
side, so that a JPEG and the same JPEG wrapped as DICOM give the same bytes. ``FILM_VERSION`` names this route: whoever
changes a byte of any film must raise it.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from pydicom.pixels.processing import apply_color_lut

from dicom_io.decode import Stored, read_stored
from dicom_io.elements import CONVERSION_ERRORS
from dicom_io.errors import FilmError
from dicom_io.greyscale import grey_table
from dicom_io.limits import MAX_FILE_BYTES, MAX_PIXELS, MIN_SIDE_PX
from dicom_io.quiet import quiet_libraries
from dicom_io.reasons import Reason
from dicom_io.syntaxes import Decoder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FILM_VERSION",
    "Film",
    "FilmError",
    "film_of_dicom",
    "film_of_picture",
    "grey_of_picture",
    "is_picture",
    "read_png",
    "write_png",
    "write_whole",
]

#: The code and route that made a film.
FILM_VERSION = 1

#: A film's shortest side is not reduced below this.
_SHORTEST_SIDE_PX = 256
_VERSION_KEY = "auscult-film-version"
_DECODER_KEY = "auscult-decoder"
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
# What Pillow raises for damaged pictures; UnidentifiedImageError is an OSError.
_PICTURE_ERRORS = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, struct.error, MemoryError)

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A decoded film.

    Attributes
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns), uint8, MONOCHROME2 (0 is black).
    version : int
        The ``FILM_VERSION`` of the code that made it.
    decoder : str
        What read the original's pixels, a ``Decoder``'s name; "" where that is not known.
    """

    pixels: Grey
    version: int = FILM_VERSION
    decoder: str = ""

    @property
    def sha256(self) -> str:
        """SHA-256 over the size and the pixels, in hexadecimal."""
        rows, columns = self.pixels.shape
        digest = hashlib.sha256(f"{rows}x{columns}\n".encode("ascii"))
        digest.update(self.pixels.tobytes())
        return digest.hexdigest()


def film_of_dicom(path: Path) -> Film:
    """Make the film of a DICOM file.

    Parameters
    ----------
    path : pathlib.Path
        A DICOM file or a bare data set with one frame.

    Returns
    -------
    Film
        The film.

    Raises
    ------
    FilmError
        NOT_DICOM, UNREADABLE, UNSUPPORTED_TRANSFER_SYNTAX, NO_PIXEL_DATA, MULTI_FRAME, UNSUPPORTED_PHOTOMETRIC,
        TOO_LARGE, DECODE_FAILED, TOO_SMALL or CONSTANT_PICTURE.
    OSError
        If the file cannot be read.
    """
    quiet_libraries()
    stored = read_stored(path)
    if stored.header.is_grey:
        return _film(grey_table(stored, _block_of(stored.pixels.shape))[stored.pixels], stored.decoder)
    return _film(_grey_of_colour(stored), stored.decoder)


def film_of_picture(path: Path) -> Film:
    """Make the film of a JPEG or PNG picture.

    Parameters
    ----------
    path : pathlib.Path
        The picture; its greys are taken as they are.

    Returns
    -------
    Film
        The film.

    Raises
    ------
    FilmError
        NOT_DICOM (not a JPEG or PNG either), TOO_LARGE, DECODE_FAILED, TOO_SMALL or CONSTANT_PICTURE.
    OSError
        If the file cannot be read.
    """
    return _film(grey_of_picture(path), Decoder.PILLOW)


def is_picture(path: Path) -> bool:
    """Whether a file begins like a JPEG or PNG picture; False for any other file and for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_PICTURE_STARTS)
    except OSError:
        return False


def grey_of_picture(path: Path) -> Grey:
    """The greys of a JPEG or PNG picture at full size.

    Colour becomes grey by Pillow's ``convert("L")`` (luma of ITU-R BT.601), as the training films did; 16-bit grey
    keeps its upper 8 bits.

    Parameters
    ----------
    path : pathlib.Path
        The picture.

    Returns
    -------
    numpy.ndarray
        Shape (rows, columns), uint8.

    Raises
    ------
    FilmError
        NOT_DICOM, TOO_LARGE or DECODE_FAILED.
    OSError
        If the file cannot be read.
    """
    quiet_libraries()
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FilmError(Reason.TOO_LARGE)
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise FilmError(Reason.TOO_LARGE)
            if picture.mode in ("I", "I;16", "I;16B"):
                return (np.asarray(picture, dtype=np.int32) >> 8).clip(0, 255).astype(np.uint8)
            return np.asarray(picture.convert("L"))
    except UnidentifiedImageError:
        raise FilmError(Reason.NOT_DICOM) from None
    except Image.DecompressionBombError:
        raise FilmError(Reason.TOO_LARGE) from None
    except _PICTURE_ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None


def write_png(film: Film, path: Path) -> None:
    """Write a film without loss: a reader sees the whole file or none, and only the owner may read it.

    Parameters
    ----------
    film : Film
        The film.
    path : pathlib.Path
        The file to make or replace; its folder must be there.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind then.
    """
    notes = PngImagePlugin.PngInfo()
    notes.add_text(_VERSION_KEY, str(film.version))
    notes.add_text(_DECODER_KEY, film.decoder)
    picture = io.BytesIO()
    # the films are small and many: the fastest level costs a tenth more room and saves most of the time
    Image.fromarray(np.ascontiguousarray(film.pixels)).save(picture, "PNG", pnginfo=notes, compress_level=1)
    write_whole(path, picture.getbuffer())


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file durably: a reader sees the whole file or none, and only the owner may read it.

    Parameters
    ----------
    path : pathlib.Path
        The file to make or replace; its folder must be there.
    data : bytes-like
        The content.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind then.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_png(path: Path) -> Film:
    """Read a film that ``write_png`` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Film
        The film, with the version of the code that made it and the decoder's name.

    Raises
    ------
    FilmError
        UNREADABLE if the file is damaged or no film.
    OSError
        If the file cannot be read.
    """
    quiet_libraries()
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if picture.mode != "L":
                raise FilmError(Reason.UNREADABLE)
            picture.load()
            version, decoder = int(picture.info[_VERSION_KEY]), str(picture.info.get(_DECODER_KEY, ""))
            return Film(np.asarray(picture), version, decoder)
    except (KeyError, *_PICTURE_ERRORS):
        raise FilmError(Reason.UNREADABLE) from None


def _film(grey: Grey, decoder: Decoder) -> Film:
    """Reduce full-size greys to a film.

    Pillow's ``reduce`` takes the rounded mean of each block; the blocks at the right and lower edge hold what is left
    of the picture, so the film has the size rounded up.
    """
    if min(grey.shape) < MIN_SIDE_PX:
        raise FilmError(Reason.TOO_SMALL)
    block = _block_of(grey.shape)
    pixels = np.asarray(Image.fromarray(np.ascontiguousarray(grey)).reduce(block)) if block > 1 else grey
    if pixels.min() == pixels.max():
        raise FilmError(Reason.CONSTANT_PICTURE)
    return Film(np.ascontiguousarray(pixels), decoder=decoder.value)


def _block_of(shape: tuple[int, ...]) -> int:
    """The largest power of two that keeps the shortest side at 256 pixels or more."""
    return 1 << max(0, (min(shape) // _SHORTEST_SIDE_PX).bit_length() - 1)


def _grey_of_colour(stored: Stored) -> Grey:
    """Colour -> grey by the one formula; window and inversion are not defined for colour (PS3.3 C.11.2)."""
    pixels = stored.pixels
    is_rgb, bits = stored.is_rgb, stored.header.bits_stored
    if stored.header.photometric == "PALETTE COLOR":
        pixels, is_rgb = _through_palette(stored), True
        bits = pixels.dtype.itemsize * 8
    if bits > 8:
        pixels = (pixels >> (bits - 8)).astype(np.uint8)
    planes = np.ascontiguousarray(pixels.astype(np.uint8, copy=False))
    if is_rgb:
        return np.asarray(Image.fromarray(planes).convert("L"))
    bands = [Image.fromarray(np.ascontiguousarray(planes[:, :, band])) for band in range(3)]
    return np.asarray(Image.merge("YCbCr", bands).convert("RGB").convert("L"))


def _through_palette(stored: Stored) -> NDArray[np.uint8 | np.uint16]:
    """Apply the palette (PS3.3 C.7.6.3.1.5, C.7.9)."""
    try:
        rgb = apply_color_lut(stored.pixels, stored.elements.dataset)
    except CONVERSION_ERRORS:
        raise FilmError(Reason.UNSUPPORTED_PHOTOMETRIC) from None
    return rgb[:, :, :3]
