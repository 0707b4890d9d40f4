"""Contrast limited adaptive histogram equalisation, which many devices and viewers put on a film before it is stored.

Zuiderveld 1994, "Contrast limited adaptive histogram equalization", Graphics Gems IV, pages 474-485.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILES = 8
LIMIT = 2.0
GREYS = 256


def equalised(film: NDArray[np.uint8], tiles: int = TILES, limit: float = LIMIT) -> NDArray[np.uint8]:
    """Equalise the contrast of each part of a film, and blend the parts.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey film, [0, 255]; at least one pixel.
    tiles : int, optional
        How many tiles there are each way, at least 1; a film of fewer pixels has as many as those.
    limit : float, optional
        How steep a tile's curve may be, at least 1: each grey may count that many times what it would were all greys
        as frequent, and the excess is spread evenly over all greys, once. 1 leaves a film nearly as it is.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        [0, 255]. Each pixel is the bilinear mean of what the curves of the four nearest tiles make of it.
    """
    curves = _curves(film, tiles := min(tiles, *film.shape), limit)
    above, below, down = _neighbours(film.shape[0], tiles)
    left, right, across = _neighbours(film.shape[1], tiles)
    upper, lower = (
        (1 - across) * curves[rows[:, np.newaxis], left, film] + across * curves[rows[:, np.newaxis], right, film]
        for rows in (above, below)
    )
    mean = upper + down[:, np.newaxis] * (lower - upper)
    return np.clip(mean + 0.5, 0, GREYS - 1).astype(np.uint8)


def _curves(film: NDArray[np.uint8], tiles: int, limit: float) -> NDArray[np.float64]:
    """The curve of each tile, shape (tiles, tiles, GREYS): from grey to the share of its pixels up to it, in [0, 255]."""
    row, column = (np.arange(length) * tiles // length for length in film.shape)
    cell = (row[:, np.newaxis] * tiles + column) * GREYS + film
    counts = np.bincount(cell.ravel(), minlength=tiles * tiles * GREYS).reshape(tiles, tiles, GREYS)
    pixels = counts.sum(axis=2, keepdims=True)
    clipped = np.minimum(counts, limit * pixels / GREYS)
    clipped += (pixels - clipped.sum(axis=2, keepdims=True)) / GREYS
    return np.asarray(np.cumsum(clipped, axis=2) * (GREYS - 1) / pixels)


def _neighbours(length: int, tiles: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """For each pixel of a side the tiles whose centres it lies between, and how far along it is to the second."""
    place = np.clip((np.arange(length) + 0.5) * tiles / length - 0.5, 0, tiles - 1)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, tiles - 1), place - first
