"""Step 6b of the flow: the film, the decoded picture that everything later uses.

A film is 8-bit grey and MONOCHROME2. Its shortest side has 256 to 512 pixels; smaller originals keep their size,
because nothing is enlarged. Each of its pixels is the mean grey of a block of 2, 4, 8, ... pixels a side, by the mask
of ``shutter`` and the curves of ``greyscale``, so that a JPEG and the same JPEG wrapped as DICOM give the same bytes.
How the means are found is chosen by ``route``. A change that alters a byte of any film must raise ``FILM_VERSION``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from dicom_io.errors import FilmError
from dicom_io.film.blocks import Blocks
from dicom_io.film.colour import grey_of_colour
from dicom_io.film.greyscale import declared_curves, grey_curves, grey_table, table_of
from dicom_io.film.levels import film_of_levels
from dicom_io.film.picture_file import picture_values
from dicom_io.film.route import Route, is_reducible, route_of
from dicom_io.film.shutter import visible_pixels
from dicom_io.film.version import FILM_VERSION
from dicom_io.header.elements import Elements
from dicom_io.limits import MIN_SIDE_PX
from dicom_io.pixels.decode import Frame, StoredPixels, read_frame, stored_pixels
from dicom_io.pixels.pixel_header import PixelHeader
from dicom_io.pixels.syntaxes import Decoder
from dicom_io.pixels.wavelet import wavelet_of
from dicom_io.quiet import quiet_libraries
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.film.shutter import Mask

__all__ = [
    "FILM_VERSION",
    "Film",
    "Making",
    "film_of_dicom",
    "film_of_frame",
    "film_of_picture",
    "grey_of_picture",
]

#: The shortest side of a film is not reduced below this.
_SHORTEST_SIDE_PX = 256
#: A LUT or window of the header shows nothing of the picture if it leaves this part of the visible pixels, in percent,
#: within fewer grey levels than the least span. (A window for 12 bits on values of 8, or for 16 bits on values of 12,
#: leaves 16 levels; below 32 the gate calls the film blank.)
_SPAN_PERCENT, _LEAST_SPAN = 99, 40

#: The curve of greys that are shown as they are.
_AS_THEY_ARE = np.arange(256, dtype=np.float64)

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Making:
    """By which way the film of a DICOM file was made.

    Attributes
    ----------
    route : Route
        Whether all pixels were decoded.
    block : int
        The side, in pixels of the picture, of the block that became one pixel of the film.
    curve : int or None
        Which of ``grey_curves`` shows the film, 0 the first; None for a colour picture.
    box : tuple of int, or None
        First row and column, from 0, and rows and columns of the part of the picture that is shown; None: all of it.
    is_masked : bool
        Whether pixels within the box are hidden, that is shown black.
    """

    route: Route
    block: int
    curve: int | None
    box: tuple[int, int, int, int] | None = None
    is_masked: bool = False


@dataclass(frozen=True, eq=False)
class Film:
    """A decoded film.

    Attributes
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns), uint8, MONOCHROME2 (0 is black).
    version : int
        The ``FILM_VERSION`` of the code that made it.
    decoder : str
        The name of the ``Decoder`` that read the pixels of the original; "" if unknown.
    making : Making or None
        By which way it was made; None of a film that was read from its file, or made of a picture without a header.
    """

    pixels: Grey
    version: int = FILM_VERSION
    decoder: str = ""
    making: Making | None = None

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the size and the pixels, in hexadecimal."""
        rows, columns = self.pixels.shape
        digest = hashlib.sha256(f"{rows}x{columns}\n".encode("ascii"))
        digest.update(self.pixels.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class _Reduced:
    """A picture of the size of a film, the span of the middle 99 % of its greys, and whether it has one grey only."""

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
    return film_of_frame(read_frame(path))


def film_of_frame(frame: Frame) -> Film:
    """Make the film of the one frame of a DICOM file; the errors of decoding are those of ``film_of_dicom``."""
    film = _film_of_wavelet(frame) if route_of(frame) is Route.LEVELS else None
    return film or _film_of_stored(stored_pixels(frame))


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
        NOT_DICOM (not a JPEG or PNG file), TOO_LARGE, MULTI_FRAME, DECODE_FAILED, TOO_SMALL or CONSTANT_PICTURE.
    OSError
        If the file cannot be read.
    """
    values = picture_values(path)
    if values.dtype != np.uint8:
        return _film_of_stored(_deep(values))
    _check_size(values.shape)
    return _film(_measured(Blocks(values, _block_of(values.shape), 255).greys(_AS_THEY_ARE)), Decoder.PILLOW)


def grey_of_picture(path: Path) -> Grey:
    """Read the greys of a JPEG or PNG picture at full size, upright.

    Greys of 8 bits are used as they are. Values of 16 bits may use any part of their range, which the file does not
    say, so they are shown by the automatic window, like a DICOM object without a window.

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


def _shown(values: NDArray[np.uint8 | np.uint16]) -> Grey:
    """The greys of a picture's values."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return grey_table(_deep(values), _block_of(values.shape))[values]


def _deep(values: NDArray[np.uint8 | np.uint16]) -> StoredPixels:
    """A picture of 16 bits as a DICOM object would hold it."""
    rows, columns = values.shape
    header = PixelHeader(rows, columns, 1, "MONOCHROME2", 16, 16, 15, is_signed=False, is_planar=False)
    return StoredPixels(values, is_rgb=False, decoder=Decoder.LIBPNG, header=header, elements=Elements(Dataset()))


def _film_of_wavelet(frame: Frame) -> Film | None:
    """Make the film from a lower resolution of the code stream; None if the full picture is needed."""
    header = frame.header
    wavelet = wavelet_of(frame)
    block = _block_of((header.rows, header.columns))
    curve = next(declared_curves(frame), None)
    if wavelet is None or curve is None or not is_reducible(wavelet, curve, header):
        return None
    _check_size((header.rows, header.columns))
    grey = film_of_levels(wavelet, curve, block)
    if grey is None:
        return None
    reduced = _measured(grey)
    # another curve may show more, and the automatic window needs all values
    return None if reduced.span < _LEAST_SPAN else _film(reduced, wavelet.decoder, Making(Route.LEVELS, block, 0))


def _film_of_stored(stored: StoredPixels) -> Film:
    """Make the film by the first grey curve that shows something, else by the first curve."""
    stored, visible, box = _cropped_to_visible(stored, visible_pixels(stored))
    _check_size(stored.pixels.shape)
    block = _block_of(stored.pixels.shape)
    making = Making(Route.FULL, block, None, box, is_masked=visible is not None)
    if not stored.header.is_grey:
        return _film(_reduced(grey_of_colour(stored), visible), stored.decoder, making)
    if block > 1 and visible is None and not stored.header.is_signed:
        blocks = Blocks(stored.pixels, block, stored.header.mask)
        curves = grey_curves(stored, block, None, lambda: blocks.whole_means)
        pictures = (_measured(blocks.greys(curve)) for curve in curves)
    else:
        curves = grey_curves(stored, block, visible)
        pictures = (_reduced(table_of(curve)[stored.pixels], visible) for curve in curves)
    numbered = enumerate(pictures)
    curve, first = next(numbered)
    if first.span < _LEAST_SPAN:
        curve, first = next(((n, picture) for n, picture in numbered if picture.span >= _LEAST_SPAN), (curve, first))
    return _film(first, stored.decoder, replace(making, curve=curve))


def _cropped_to_visible(
    stored: StoredPixels, visible: Mask | None
) -> tuple[StoredPixels, Mask | None, tuple[int, int, int, int] | None]:
    """Cut the picture to its visible rows and columns, because no training film has a black frame around it.

    Returns the part, what of it is visible where not all is, and the place of the part where it is not all of the picture.
    """
    if visible is None:
        return stored, None, None
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = replace(stored, pixels=stored.pixels[box])
    is_all = part.pixels.shape == stored.pixels.shape
    place = None if is_all else (int(rows[0]), int(columns[0]), *part.pixels.shape[:2])
    return part, None if visible[box].all() else visible[box], place


def _film(reduced: _Reduced, decoder: Decoder, making: Making | None = None) -> Film:
    if reduced.is_constant:
        raise FilmError(Reason.CONSTANT_PICTURE)
    return Film(np.ascontiguousarray(reduced.pixels), decoder=decoder.value, making=making)


def _reduced(grey: Grey, visible: Mask | None = None) -> _Reduced:
    """Reduce full-size greys to the size of a film.

    Pillow's ``reduce`` takes the rounded mean of each block. The blocks at the right and lower edge hold the rest of
    the picture, so the size of the film is rounded up. Hidden pixels are set to black first, so that their values do
    not enter a mean.
    """
    block = _block_of(grey.shape)
    picture = Image.fromarray(np.ascontiguousarray(grey if visible is None else grey * visible))
    if block > 1:
        picture = picture.reduce(block)
    return _measured(np.asarray(picture), None if visible is None else _visible_histogram(picture, visible, block))


def _measured(grey: Grey, histogram: list[int] | None = None) -> _Reduced:
    """Measure the contrast of a film, by its own histogram if there is no other."""
    counts = np.array(histogram or Image.fromarray(grey).histogram())
    shares = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(shares, ((100 - _SPAN_PERCENT) / 200, (100 + _SPAN_PERCENT) / 200))
    return _Reduced(grey, int(high - low), is_constant=np.count_nonzero(counts) == 1)


def _check_size(shape: tuple[int, ...]) -> None:
    if min(shape[:2]) < MIN_SIDE_PX:
        raise FilmError(Reason.TOO_SMALL)


def _visible_histogram(picture: Image.Image, visible: Mask, block: int) -> list[int]:
    """Histogram of the reduced pixels whose whole block is visible; of all pixels if there is none."""
    mask = Image.fromarray(visible.view(np.uint8) * np.uint8(255)).reduce(block).point(lambda share: share == 255)
    counts = picture.histogram(mask)
    return counts if any(counts) else picture.histogram()


def _block_of(shape: tuple[int, ...]) -> int:
    """The largest power of two that keeps the shortest side at 256 pixels or more."""
    return 1 << max(0, (min(shape[:2]) // _SHORTEST_SIDE_PX).bit_length() - 1)
