"""Step 6b of the flow: how the film of a DICOM file is made from its pixel data.

The route is chosen from the header and from the code stream, never after a failure, so that one film has one score on
every machine. The routes, each with the films that take it:

- **levels**: a lower resolution of the code stream (``levels``), and what is sharp in full (``mending``). JPEG 2000 and
  HTJ2K, one grey unsigned component of 12 to 15 bits in one tile at the origin, with a window or VOI LUT, without
  shutter, collimator and padding, at least 2048 pixels a side. Where much is sharp (HTJ2K: anything), the next route.
- **full**: all pixels are decoded. Their values are added up by blocks, and only the means are looked up (``blocks``).
  Signed and partly hidden pictures, and those in colour, are looked up pixel by pixel.

Baseline JPEG has no route by a reduced cosine transform: only its eighth is a mean of blocks, not if the size is no
multiple of 8, and a JPEG would have another film than the same picture wrapped without compression.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from dicom_io.film.shutter import hides_pixels
from dicom_io.pixels.syntaxes import Coding

if TYPE_CHECKING:
    from dicom_io.film.luts import Floats
    from dicom_io.pixels.decode import Frame
    from dicom_io.pixels.pixel_header import PixelHeader
    from dicom_io.pixels.wavelet import Wavelet

#: Below, the coarsest level that is finer than the film takes a third of the time of the full picture, and the sharp parts
#: of real films the rest of it.
_LEAST_SIDE_PX = 2048
#: The integer 5/3 wavelet rounds at each level, on average by half a stored value: a tenth of a grey of 12 bits.
_LEAST_BITS = 12
#: With 16 bits a sample that overshoots white could not be told from one below black.
_MOST_BITS = 15
#: How many times steeper than a straight curve over all values one may be; noise at the ends of a steeper window shifts
#: the mean grey, which no level shows.
_STEEPEST = 8


class Route(Enum):
    """How the film is made."""

    LEVELS = "levels"
    FULL = "full"


def route_of(frame: Frame) -> Route:
    """Choose the route by the header and the coding.

    Parameters
    ----------
    frame : Frame
        The frame.

    Returns
    -------
    Route
        LEVELS if the film may be made from a lower resolution; whether it can is found out from the code stream.
    """
    header = frame.header
    is_wavelet = frame.coding in (Coding.JPEG_2000, Coding.HTJ2K)
    is_plain = header.is_grey and not header.is_signed and _LEAST_BITS <= header.bits_stored <= _MOST_BITS
    is_large = min(header.rows, header.columns) >= _LEAST_SIDE_PX
    return Route.LEVELS if is_wavelet and is_plain and is_large and not hides_pixels(frame.elements) else Route.FULL


def is_reducible(wavelet: Wavelet, curve: Floats, header: PixelHeader) -> bool:
    """Whether a lower resolution may stand for the picture, by the code stream and the grey curve.

    Parameters
    ----------
    wavelet : Wavelet
        The code stream.
    curve : numpy.ndarray
        The grey of every stored value.
    header : PixelHeader
        The pixel description.

    Returns
    -------
    bool
        False if the values of the stream are not the stored values, or if the curve is too steep.
    """
    steepest = float(np.abs(np.diff(curve)).max()) * header.mask / 255
    # a stream of more bits holds the same values, as `decoders` reads it too
    is_stored = wavelet.precision >= header.bits_stored == header.high_bit + 1
    return is_stored and steepest <= _STEEPEST
