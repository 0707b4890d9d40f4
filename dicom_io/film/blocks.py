"""Step 6b of the flow: stored values to the greys of a film, block by block, without a table look-up for each pixel.

A pixel of the film is the mean of the greys of one block of the picture. Where the grey curve is straight over the
values of a block, that mean is the grey of the mean value, so the pixels are added up as they are stored and only the
means are looked up. Where the curve bends within a block (an edge across the end of a window, a steep LUT) each pixel
of that block is looked up. So every pixel of the film is within ``TOLERANCE`` of the mean of its greys, whatever the
curve is. Sums of whole numbers are exact, so the film does not depend on the machine.
"""

from __future__ import annotations

from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from dicom_io.film.luts import Floats

#: The largest error, in grey levels, by which the grey of a block's mean may differ from the mean of its greys.
TOLERANCE = 0.5
#: With more blocks in which the curve bends, all pixels are looked up: it is faster.
_MOST_BENT = 0.2
#: Values held between two steps.
_BETWEEN = 1 << 15

Stored = NDArray[np.uint8 | np.uint16]
Grey = NDArray[np.uint8]


class Blocks:
    """The blocks of a picture that become the pixels of its film.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns), unsigned stored values in the order of their meaning.
    block : int
        The side of a block in pixels. The blocks at the right and lower edge hold the rest of the picture.
    """

    def __init__(self, pixels: Stored, block: int) -> None:
        self._pixels = pixels
        self._block = block
        self._lowest, self._highest = int(pixels.min()), int(pixels.max())
        sums = _of_blocks(np.add, pixels, block, np.uint16 if self._highest * block <= 0xFFFF else np.uint32)
        counts = np.outer(*(_counts(side, block) for side in pixels.shape))
        #: Shape of the film, float64: the mean stored value of each block.
        self.means: Floats = sums / counts

    @property
    def whole_means(self) -> Floats:
        """The means of the blocks that lie wholly within the picture."""
        rows, columns = (side // self._block for side in self._pixels.shape)
        return self.means[:rows, :columns]

    def greys(self, curve: Floats) -> Grey:
        """Return the mean grey of each block.

        Parameters
        ----------
        curve : numpy.ndarray
            The grey, 0 to 255, of every stored value.

        Returns
        -------
        numpy.ndarray
            Shape of the film, uint8: the means, rounded half up.
        """
        ends = np.array([self._lowest]), np.array([self._highest])
        if _error_bound(curve, *ends)[0] <= TOLERANCE:
            return rounded(between(curve, self.means))
        is_bent = _error_bound(curve, *self._extremes) > TOLERANCE
        if np.count_nonzero(is_bent) > _MOST_BENT * is_bent.size:
            shown = np.rint(curve).astype(np.uint8)[self._pixels]
            return np.asarray(Image.fromarray(shown).reduce(self._block))
        greys = between(curve, self.means)
        self._look_up(greys, curve, *np.nonzero(is_bent))
        return rounded(greys)

    def _look_up(self, greys: Floats, curve: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> None:
        """Replace the greys of these blocks by the means of the greys of their pixels."""
        down, across = self.whole_means.shape
        is_whole = (rows < down) & (columns < across)
        pixels = sliding_window_view(self._pixels, (self._block, self._block))[:: self._block, :: self._block]
        found = pixels[rows[is_whole], columns[is_whole]]
        greys[rows[is_whole], columns[is_whole]] = curve[found].mean(axis=(1, 2))
        for row, column in zip(rows[~is_whole], columns[~is_whole], strict=True):
            top, left = row * self._block, column * self._block
            part = self._pixels[top : top + self._block, left : left + self._block]
            greys[row, column] = curve[part].mean()

    @cached_property
    def _extremes(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The smallest and largest stored value of each block."""
        dtype = self._pixels.dtype
        lows, highs = (_of_blocks(each, self._pixels, self._block, dtype) for each in (np.minimum, np.maximum))
        return lows.astype(np.intp), highs.astype(np.intp)


def between(curve: Floats, values: Floats) -> Floats:
    """Look up values that may be fractions, by straight lines between the entries of a curve.

    Parameters
    ----------
    curve : numpy.ndarray
        Shape (n,): the output of every whole value from 0.
    values : numpy.ndarray
        Any shape, 0 to n - 1.

    Returns
    -------
    numpy.ndarray
        The shape of the values.
    """
    below = values.astype(np.intp)
    above = np.minimum(below + 1, curve.size - 1)
    found: Floats = curve[below] + (values - below) * (curve[above] - curve[below])
    return found


def rounded(greys: Floats) -> Grey:
    """Round greys of 0 to 255 to bytes, half up, as Pillow does for the mean of a block."""
    # a hair above the half, because a straight line between two greys may end a hair below it
    return np.floor(greys + (0.5 + 1e-9)).astype(np.uint8)


def _of_blocks(add: np.ufunc, pixels: NDArray[Any], block: int, dtype: Any) -> NDArray[Any]:
    """Reduce the blocks of a picture; ``dtype`` holds the result of one column of a block."""
    rows, columns = pixels.shape
    found = np.empty((-(-rows // block), -(-columns // block)), np.uint32)
    # some rows of blocks at a time: what lies between then stays in the cache, and no large memory is asked for
    several = block * max(1, _BETWEEN // columns)
    for top in range(0, rows, several):
        strips = _strips(add, pixels[top : top + several], block, dtype)
        found[top // block : top // block + len(strips)] = _across(add, strips, block)
    return found


def _strips(add: np.ufunc, pixels: NDArray[Any], block: int, dtype: Any) -> NDArray[Any]:
    """Reduce the rows of each block."""
    whole = len(pixels) // block * block
    strips = np.empty((-(-len(pixels) // block), pixels.shape[1]), dtype)
    add.reduce(pixels[:whole].reshape(-1, block, pixels.shape[1]), axis=1, dtype=dtype, out=strips[: whole // block])
    if whole < len(pixels):
        add.reduce(pixels[whole:], axis=0, dtype=dtype, out=strips[-1])
    return strips.astype(np.uint32, copy=False)


def _across(add: np.ufunc, strips: NDArray[Any], block: int) -> NDArray[Any]:
    """Reduce the columns of each block."""
    columns = strips.shape[1]
    whole = columns // block * block
    # numpy takes every eighth column in a quarter of the time of adding runs of eight
    found: NDArray[Any] = reduce(add, (strips[:, place:whole:block] for place in range(block)))
    return found if whole == columns else np.column_stack((found, add.reduce(strips[:, whole:], axis=1)))


def _counts(side: int, block: int) -> NDArray[np.intp]:
    """The number of pixels of each block along a side."""
    counts = np.full(-(-side // block), block)
    counts[-1] = side - (len(counts) - 1) * block
    return counts


def _error_bound(curve: Floats, lows: NDArray[np.intp], highs: NDArray[np.intp]) -> Floats:
    """The most by which the grey of the mean of values between two ends can differ from the mean of their greys.

    With slopes between m and M the greys differ from a straight line through the mean by (M - m) / 2 for each unit of
    distance from it, and the mean distance is at most half of the range. M - m is at most the sum of the turns between.
    """
    turns = np.zeros(curve.size)
    turns[1:-1] = np.cumsum(np.abs(np.diff(curve, 2)))
    bound: Floats = (turns[np.maximum(highs - 1, lows)] - turns[lows]) * (highs - lows) / 4
    return bound
