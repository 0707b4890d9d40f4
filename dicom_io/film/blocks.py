"""Step 6b of the flow: stored values to the greys of a film, block by block, without a table look-up for each pixel.

A pixel of the film is the mean of the greys of one block of the picture. Where the grey curve is straight over the
values of a block, that mean is the grey of the mean value, so the pixels are added up as they are stored and only the
means are looked up. Where the curve bends within a block (an edge across the end of a window, a steep LUT) each pixel
of that block is looked up. So every pixel of the film is within ``TOLERANCE`` of the mean of its greys, whatever the
curve is. Sums of whole numbers are exact, so the film does not depend on the machine.

Most curves are a window and bend at its two ends. Then only blocks with values on both sides of an end are measured.
"""

from __future__ import annotations

from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicom_io.film.luts import Floats

#: The largest error, in grey levels, by which the grey of a block's mean may differ from the mean of its greys.
TOLERANCE = 0.5
#: With more blocks in which the curve bends, all pixels are looked up: it is faster.
_MOST_BENT = 0.2
#: With more bends all blocks are measured: it is faster. Smaller turns, in grey levels, are those of rounding.
_MOST_BENDS, _LEAST_TURN = 6, 1e-9

Stored = NDArray[np.uint8 | np.uint16]
Grey = NDArray[np.uint8]
Places = tuple[NDArray[np.intp], NDArray[np.intp]]


class Blocks:
    """The blocks of a picture that become the pixels of its film.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns), unsigned stored values in the order of their meaning.
    block : int
        The side of a block in pixels, a power of two. The blocks at the right and lower edge hold the rest of the
        picture.
    most : int
        No value is larger.
    """

    def __init__(self, pixels: Stored, block: int, most: int) -> None:
        self._pixels = pixels
        self._block = block
        dtype = np.uint16 if most * block <= 0xFFFF else np.uint32
        #: Shape of the film: the sum of the stored values of each block.
        self._sums = _sums_across(_strips(np.add, pixels, block, dtype), block)

    @property
    def whole_means(self) -> Floats:
        """The mean stored values of the blocks that lie wholly within the picture, float64."""
        rows, columns = self._whole
        means: Floats = self._sums[:rows, :columns] / self._block**2
        return means

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
        rows, columns = self._bent(curve)
        if rows.size > _MOST_BENT * self._sums.size:
            shown = np.rint(curve).astype(np.uint8)[self._pixels]
            return np.asarray(Image.fromarray(shown).reduce(self._block))
        greys = np.empty(self._sums.shape, np.uint8)
        for part, count in self._parts():
            greys[part] = _greys_of_means(curve, self._sums[part], count)
        self._look_up(greys, curve, rows, columns)
        return greys

    @property
    def _whole(self) -> tuple[int, int]:
        """Rows and columns of the blocks that lie wholly within the picture."""
        rows, columns = (side // self._block for side in self._pixels.shape)
        return rows, columns

    def _parts(self) -> Iterator[tuple[tuple[slice, slice], int]]:
        """The parts of the film whose blocks have the same number of pixels, and that number."""
        down, across = (
            [(slice(0, whole), self._block), (slice(whole, None), side - whole * self._block)]
            for whole, side in zip(self._whole, self._pixels.shape, strict=True)
        )
        for rows, height in down:
            for columns, width in across:
                if height and width:
                    yield (rows, columns), height * width

    def _look_up(self, greys: Grey, curve: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> None:
        """Replace the greys of these blocks by the means of the greys of their pixels."""
        down, across = self._whole
        is_whole = (rows < down) & (columns < across)
        pixels = sliding_window_view(self._pixels, (self._block, self._block))[:: self._block, :: self._block]
        found = pixels[rows[is_whole], columns[is_whole]]
        greys[rows[is_whole], columns[is_whole]] = rounded(curve[found].mean(axis=(1, 2)))
        for row, column in zip(rows[~is_whole], columns[~is_whole], strict=True):
            top, left = row * self._block, column * self._block
            part = self._pixels[top : top + self._block, left : left + self._block]
            greys[row, column] = rounded(curve[part].mean())

    def _bent(self, curve: Floats) -> Places:
        """The rows and columns of the blocks within which the curve bends too much for their means to be looked up."""
        each = np.abs(np.diff(curve, 2))
        turns = np.zeros(curve.size)
        turns[1:-1] = np.cumsum(each)
        bends = np.flatnonzero(each > _LEAST_TURN) + 1
        rest = each[each <= _LEAST_TURN].sum() * curve.size
        if bends.size > _MOST_BENDS or rest > TOLERANCE:
            lows, highs = (_across(*strips, self._block) for strips in self._extremes)
            rows, columns = np.nonzero(_error_bound(turns, lows, highs) > TOLERANCE)
            return rows, columns
        rows, columns = np.nonzero(self._across_one_of(bends))
        if rows.size == 0:
            return rows, columns
        lows, highs = (_at(*strips, self._block, rows, columns) for strips in self._extremes)
        is_bent = _error_bound(turns, lows, highs) > TOLERANCE
        return rows[is_bent], columns[is_bent]

    def _across_one_of(self, bends: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which blocks have values on both sides of one of these values; shape of the film."""
        found = np.zeros(self._sums.shape, np.bool_)
        if bends.size:
            (_, lows), (_, highs) = self._extremes
            for bend in bends.tolist():
                found |= _any_across(lows < bend, self._block) & _any_across(highs > bend, self._block)
        return found

    @cached_property
    def _extremes(self) -> tuple[tuple[np.ufunc, Stored], tuple[np.ufunc, Stored]]:
        """The smallest and largest stored value of each column of each block, with what finds them."""
        dtype = self._pixels.dtype
        lows, highs = (_strips(each, self._pixels, self._block, dtype) for each in (np.minimum, np.maximum))
        return (np.minimum, lows), (np.maximum, highs)


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
    steps = np.diff(curve, append=curve[-1:])
    found: Floats = curve[below] + (values - below) * steps[below]
    return found


def rounded(greys: Floats) -> Grey:
    """Round greys of 0 to 255 to bytes, half up, as Pillow does for the mean of a block."""
    # a hair above the half, because a straight line between two greys may end a hair below it
    return np.floor(greys + (0.5 + 1e-9)).astype(np.uint8)


def _greys_of_means(curve: Floats, sums: NDArray[Any], count: int) -> Grey:
    """The greys of the means of ``count`` values with these sums."""
    possible = (curve.size - 1) * count + 1
    if possible < sums.size:
        table = rounded(between(curve, np.arange(possible) / count))
        return np.asarray(table[sums])
    return rounded(between(curve, sums / count))


def _strips(add: np.ufunc, pixels: NDArray[Any], block: int, dtype: Any) -> NDArray[Any]:
    """Reduce the rows of each block; ``dtype`` holds the result."""
    whole = len(pixels) // block * block
    strips = np.empty((-(-len(pixels) // block), pixels.shape[1]), dtype)
    add.reduce(pixels[:whole].reshape(-1, block, pixels.shape[1]), axis=1, dtype=dtype, out=strips[: whole // block])
    if whole < len(pixels):
        add.reduce(pixels[whole:], axis=0, dtype=dtype, out=strips[-1])
    return strips


def _sums_across(strips: NDArray[Any], block: int) -> NDArray[Any]:
    """Add up the columns of each block."""
    whole, side = strips.shape[1] // block * block, block
    found = np.ascontiguousarray(strips[:, :whole])
    # neighbours are the halves of a number of twice the width: numpy adds these many times faster than every other one
    while side > 1 and found.itemsize < 8:
        bits = 8 * found.itemsize
        pairs = found.view(f"u{2 * found.itemsize}")
        found, side = (pairs & ((1 << bits) - 1)) + (pairs >> bits), side // 2
    while side > 1:
        found, side = found[:, ::2] + found[:, 1::2], side // 2
    if whole < strips.shape[1]:
        found = np.column_stack((found, strips[:, whole:].sum(axis=1)))
    return found.astype(np.intp)


def _across(add: np.ufunc, strips: NDArray[Any], block: int) -> NDArray[np.intp]:
    """Reduce the columns of each block."""
    columns = strips.shape[1]
    whole = columns // block * block
    # numpy takes every eighth column in a quarter of the time of adding runs of eight
    found: NDArray[Any] = reduce(add, (strips[:, place:whole:block] for place in range(block)))
    if whole < columns:
        found = np.column_stack((found, add.reduce(strips[:, whole:], axis=1)))
    return found.astype(np.intp)


def _any_across(is_so: NDArray[np.bool_], block: int) -> NDArray[np.bool_]:
    """Whether any column of each block is so."""
    whole = is_so.shape[1] // block * block
    width = min(block, 8)
    # eight flags are one number
    found = np.ascontiguousarray(is_so[:, :whole]).view(f"u{width}") != 0
    if block > width:
        found = found.reshape(len(found), -1, block // width).any(axis=2)
    return found if whole == is_so.shape[1] else np.column_stack((found, is_so[:, whole:].any(axis=1)))


def _at(
    add: np.ufunc, strips: NDArray[Any], block: int, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Reduce the columns of these blocks; ``add`` is a minimum or maximum."""
    # a column that is taken twice, where the last block is narrower, changes neither
    places = np.minimum(columns[:, np.newaxis] * block + np.arange(block), strips.shape[1] - 1)
    found: NDArray[Any] = add.reduce(strips[rows[:, np.newaxis], places], axis=1)
    return found.astype(np.intp)


def _error_bound(turns: Floats, lows: NDArray[np.intp], highs: NDArray[np.intp]) -> Floats:
    """The most by which the grey of the mean of values between two ends can differ from the mean of their greys.

    With slopes between m and M the greys differ from a straight line through the mean by (M - m) / 2 for each unit of
    distance from it, and the mean distance is at most half of the range. M - m is at most the sum of the turns between;
    ``turns`` are added up from the first value on.
    """
    bound: Floats = (turns[np.maximum(highs - 1, lows)] - turns[lows]) * (highs - lows) / 4
    return bound
