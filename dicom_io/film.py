"""Step 6 of the flow: the film, the one decoded form that everything later uses.

A film is 8-bit grey, MONOCHROME2, its shortest side 256 to 512 pixels (smaller originals keep their size; nothing is
ever enlarged). It comes from the full-size picture by the mask of ``shutter``, the tables of ``greyscale`` and a mean
over blocks of 2, 4, 8, ... pixels a side, so that a JPEG and the same JPEG wrapped as DICOM give the same bytes.
``FILM_VERSION`` names this route: whoever changes a byte of any film must raise it.
"""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset

from dicom_io.colour import grey_of_colour
from dicom_io.decode import Stored, read_stored
from dicom_io.durable import fsync_folder
from dicom_io.elements import Elements
from dicom_io.errors import FilmError
from dicom_io.greyscale import grey_table, grey_tables
from dicom_io.limits import MIN_SIDE_PX
from dicom_io.picture_file import PICTURE_ERRORS, begins_like_picture, is_picture, picture_values
from dicom_io.pixel_header import PixelHeader
from dicom_io.quiet import quiet_libraries
from dicom_io.reasons import Reason
from dicom_io.shutter import visible_pixels
from dicom_io.syntaxes import Decoder

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.shutter import Mask

__all__ = [
    "FILM_VERSION",
    "Film",
    "FilmError",
    "begins_like_picture",
    "film_of_dicom",
    "film_of_picture",
    "grey_of_picture",
    "is_picture",
    "read_png",
    "write_png",
    "write_whole",
]

#: The code and route that made a film.
FILM_VERSION = 3

#: A film's shortest side is not reduced below this.
_SHORTEST_SIDE_PX = 256
#: A LUT or window of the header that leaves this part of the visible pixels (in percent) within fewer greys than the
#: least span shows nothing of the picture. (A window of 12 bits on 8, or of 16 bits on 12, leaves 16; below 32
#: ``picture`` takes the film for blank.)
_SPAN_PERCENT, _LEAST_SPAN = 99, 40
_VERSION_KEY = "auscult-film-version"
_DECODER_KEY = "auscult-decoder"

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


@dataclass(frozen=True, slots=True, eq=False)
class _Reduced:
    """A picture of a film's size, and how many greys apart its visible pixels are: nearly all, and all of them."""

    pixels: Grey
    span: int
    is_constant: bool


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
    return _film_of_stored(read_stored(path))


def film_of_picture(path: Path) -> Film:
    """Make the film of a JPEG or PNG picture.

    Parameters
    ----------
    path : pathlib.Path
        The picture; see ``grey_of_picture``.

    Returns
    -------
    Film
        The film.

    Raises
    ------
    FilmError
        NOT_DICOM (not a JPEG or PNG either), TOO_LARGE, MULTI_FRAME, DECODE_FAILED, TOO_SMALL or CONSTANT_PICTURE.
    OSError
        If the file cannot be read.
    """
    values = picture_values(path)
    return _film(_reduced(_shown(values)), Decoder.PILLOW if values.dtype == np.uint8 else Decoder.LIBPNG)


def grey_of_picture(path: Path) -> Grey:
    """The greys of a JPEG or PNG picture at full size, upright.

    Greys of 8 bits are taken as they are. Values of 16 bits may use any part of their range, and nothing in the file
    tells which: they are shown as those of a DICOM object without a window are, by the automatic window.

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
        NOT_DICOM, TOO_LARGE, MULTI_FRAME or DECODE_FAILED.
    OSError
        If the file cannot be read.
    """
    return _shown(picture_values(path))


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
    fsync_folder(path.parent)


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
    except (KeyError, *PICTURE_ERRORS):
        raise FilmError(Reason.UNREADABLE) from None


def _shown(values: NDArray[np.uint8 | np.uint16]) -> Grey:
    """The greys of a picture's values."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    rows, columns = values.shape
    header = PixelHeader(rows, columns, 1, "MONOCHROME2", 16, 16, 15, is_signed=False, is_planar=False)
    stored = Stored(values, is_rgb=False, decoder=Decoder.LIBPNG, header=header, elements=Elements(Dataset()))
    return grey_table(stored, _block_of(values.shape))[values]


def _film_of_stored(stored: Stored) -> Film:
    """The film by the first grey table that shows something; where none does, as the header has it."""
    stored, visible = _without_frame(stored, visible_pixels(stored))
    if not stored.header.is_grey:
        return _film(_reduced(grey_of_colour(stored), visible), stored.decoder)
    tables = grey_tables(stored, _block_of(stored.pixels.shape), visible)
    pictures = (_reduced(table[stored.pixels], visible) for table in tables)
    first = next(pictures)
    if first.span < _LEAST_SPAN:
        first = next((picture for picture in pictures if picture.span >= _LEAST_SPAN), first)
    return _film(first, stored.decoder)


def _without_frame(stored: Stored, visible: Mask | None) -> tuple[Stored, Mask | None]:
    """What lies within the outermost visible rows and columns: a black frame is no film, and no training film has one."""
    if visible is None:
        return stored, None
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return replace(stored, pixels=stored.pixels[box]), None if visible[box].all() else visible[box]


def _film(reduced: _Reduced, decoder: Decoder) -> Film:
    if reduced.is_constant:
        raise FilmError(Reason.CONSTANT_PICTURE)
    return Film(np.ascontiguousarray(reduced.pixels), decoder=decoder.value)


def _reduced(grey: Grey, visible: Mask | None = None) -> _Reduced:
    """Reduce full-size greys to a film's size.

    Pillow's ``reduce`` takes the rounded mean of each block; the blocks at the right and lower edge hold what is left
    of the picture, so the film has the size rounded up. What is not visible is black before, so that nothing of it
    gets into a mean.
    """
    if min(grey.shape) < MIN_SIDE_PX:
        raise FilmError(Reason.TOO_SMALL)
    block = _block_of(grey.shape)
    picture = Image.fromarray(np.ascontiguousarray(grey if visible is None else grey * visible))
    if block > 1:
        picture = picture.reduce(block)
    counts = np.array(picture.histogram() if visible is None else _visible_histogram(picture, visible, block))
    shares = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(shares, ((100 - _SPAN_PERCENT) / 200, (100 + _SPAN_PERCENT) / 200))
    return _Reduced(np.asarray(picture), int(high - low), is_constant=np.count_nonzero(counts) == 1)


def _visible_histogram(picture: Image.Image, visible: Mask, block: int) -> list[int]:
    """The greys of the pixels that are visible throughout; of all of them where none is."""
    mask = Image.fromarray(visible.view(np.uint8) * np.uint8(255)).reduce(block).point(lambda share: share == 255)
    counts = picture.histogram(mask)
    return counts if any(counts) else picture.histogram()


def _block_of(shape: tuple[int, ...]) -> int:
    """The largest power of two that keeps the shortest side at 256 pixels or more."""
    return 1 << max(0, (min(shape) // _SHORTEST_SIDE_PX).bit_length() - 1)
