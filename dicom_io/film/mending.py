"""Step 6b of the flow: a film from a lower resolution, in which the doubtful parts are made from the full picture.

Doubtful pixels are taken together by squares as large as the code-blocks of the finest wavelet level, which are decoded as
a whole. Some squares that are not in doubt are decoded, too. They show how good the film is elsewhere: a pattern that a
level does not show at all, as the lines of a grid may be, is found in no other way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dicom_io.film.blocks import Blocks, rounded
from dicom_io.pixels.openjpeg import CodeStream
from dicom_io.pixels.syntaxes import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dicom_io.film.luts import Floats
    from dicom_io.pixels.wavelet import Wavelet

    Grey = NDArray[np.uint8]
    Flags = NDArray[np.bool_]
    Part = tuple[slice, slice]

#: The side of a square in pixels: that of a code-block of 64 x 64 (T.800 table A.18, the usual size) at the finest level.
_SQUARE_PX = 128
#: The places, as shares of height and width, of the squares that are decoded whether or not they are in doubt.
_PROBES = ((0.25, 0.25), (0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (0.75, 0.75))
#: With more squares the full picture is decoded: it is not much slower.
_MOST_SQUARES = 0.25
#: The largest mean error, in grey levels, of the pixels of the film that are not in doubt.
_MEAN_ERROR = 0.25


def mended(film: Floats, doubtful: Flags, wavelet: Wavelet, curve: Floats, block: int) -> Grey | None:
    """Make the doubtful parts of a film from the full picture.

    Parameters
    ----------
    film : numpy.ndarray
        Shape (rows, columns), float64: greys of 0 to 255 by a lower resolution.
    doubtful : numpy.ndarray
        Shape (rows, columns), bool.
    wavelet : Wavelet
        The code stream.
    curve : numpy.ndarray
        The grey of every stored value.
    block : int
        The side, in pixels of the picture, of a pixel of the film.

    Returns
    -------
    numpy.ndarray or None
        Shape (rows, columns), uint8; None if the full picture is needed: too much is in doubt, what was not in doubt is
        wrong, or the decoder knows no parts.

    Raises
    ------
    FilmError
        DECODE_FAILED or TOO_LARGE.
    """
    if wavelet.decoder is not Decoder.OPENJPEG:
        # OpenJPH decodes whole lines only, and OpenJPEG's parts of an HTJ2K picture are wrong
        return None if doubtful.any() else rounded(film)
    side = max(1, _SQUARE_PX // block)
    squares = _squares(doubtful, side)
    if squares.mean() > _MOST_SQUARES:
        return None
    plain = rounded(film)
    made, is_known, most = plain.copy(), np.zeros(film.shape, np.bool_), curve.size - 1
    with CodeStream(wavelet.data) as code:
        for part in (*_doubtful_parts(doubtful, squares, side), *_probes(squares, side)):
            top, left = (edges.start * block for edges in part)
            bottom, right = min(part[0].stop * block, wavelet.rows), min(part[1].stop * block, wavelet.columns)
            pixels = np.minimum(code.window(top, left, bottom, right), most)
            made[part], is_known[part] = Blocks(pixels, block, most).greys(curve), True
    wrong = np.abs(made.astype(np.int16) - plain)[is_known & ~doubtful]
    return made if wrong.size and wrong.mean() <= _MEAN_ERROR else None


def _squares(doubtful: Flags, side: int) -> Flags:
    """Which squares of the film hold a doubtful pixel."""
    padded = np.pad(doubtful, [(0, -length % side) for length in doubtful.shape])
    down, across = (length // side for length in padded.shape)
    return np.asarray(padded.reshape(down, side, across, side).any(axis=(1, 3)))


def _doubtful_parts(doubtful: Flags, squares: Flags, side: int) -> Iterator[Part]:
    """For each run of neighbouring squares in a row, the rows and columns of the film that hold its doubtful pixels."""
    for row, line in enumerate(squares):
        top, bottom = row * side, (row + 1) * side
        ends = np.flatnonzero(np.diff(line, prepend=False, append=False))
        for first, last in ends.reshape(-1, 2).tolist():
            found = doubtful[top:bottom, first * side : last * side]
            rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
            yield (
                slice(top + int(rows[0]), top + int(rows[-1]) + 1),
                slice(first * side + int(columns[0]), first * side + int(columns[-1]) + 1),
            )


def _probes(squares: Flags, side: int) -> Iterator[Part]:
    """The inner part of some squares, which needs no block of the code stream but their own."""
    margin = side // 8
    for row, column in _PROBES:
        top, left = int(row * len(squares)) * side, int(column * squares.shape[1]) * side
        yield slice(top + margin, top + side - margin), slice(left + margin, left + side - margin)
