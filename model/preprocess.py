"""From the film to the network's input: one function for training, evaluation and serving.

It takes a film (8-bit grey, MONOCHROME2) and gives the input of an engine. The films that the reference network was
trained on were squashed to a square with an anti-aliased filter, so the same is done here. Plain bilinear subsampling
would show the network aliased pictures, which it has never seen.

The grey is then stretched, because brightness depends on exposure and window, not on disease: a network trained without
the stretch called all 16 films of chest_xray/val pneumonia once they were made a fifth darker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from model.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREPROCESS_VERSION = 2
"""Goes up whenever the same film would give another input; a bundle names the one it was trained with."""

CUTOFF_PERCENT = 1
"""Percentage of the darkest and of the brightest pixels that the stretch clips."""


def squash(film: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a film to a square, aspect not kept, with an anti-aliased bilinear (triangle) filter.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey film, MONOCHROME2 (0 is black, 255 is white).
    size : int
        Side of the square in pixels, at least 1.

    Returns
    -------
    ndarray of uint8, shape (size, size)
        The same range, [0, 255]. A film that has that size already comes back unchanged.

    Raises
    ------
    InputError
        If the film is not a two-dimensional, non-empty uint8 array or the size is not positive.
    """
    if film.dtype != np.uint8 or film.ndim != 2 or 0 in film.shape:
        raise InputError("a film is a two-dimensional, non-empty array of 8-bit grey values (rows, columns)")
    if size < 1:
        raise InputError("the side of the network's input is at least 1 pixel")
    picture = Image.fromarray(np.ascontiguousarray(film))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)


def stretch(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stretch the grey of a picture so that its darkest and its brightest 1 % become black and white.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
        Grey, [0, 255].

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        Grey, [0, 255]; a picture of one grey comes back unchanged.
    """
    return _stretching(pixels)[pixels]


def _stretching(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey that each of the 256 greys of a picture becomes; as ``ImageOps.autocontrast`` of Pillow, in less time."""
    counts = np.array(Image.fromarray(pixels).histogram())
    clipped = pixels.size * CUTOFF_PERCENT // 100
    darkest = int(np.argmax(counts.cumsum() > clipped))
    brightest = 255 - int(np.argmax(counts[::-1].cumsum() > clipped))
    greys = np.arange(256)
    if brightest <= darkest:
        return greys.astype(np.uint8)
    slope = 255.0 / (brightest - darkest)
    return (greys * slope - darkest * slope).clip(0, 255).astype(np.uint8)


def prepare(film: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Squash a film and stretch its grey: the network's input in 8 bits, as training keeps it in memory.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey film, MONOCHROME2.
    size : int
        Side of the square in pixels, at least 1.

    Returns
    -------
    ndarray of uint8, shape (size, size)
        [0, 255].

    Raises
    ------
    InputError
        If the film is not a two-dimensional, non-empty uint8 array or the size is not positive.
    """
    return stretch(squash(film, size))


def scale(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Map 8-bit grey to [0, 1].

    Parameters
    ----------
    pixels : ndarray of uint8
        Any shape, [0, 255].

    Returns
    -------
    ndarray of float32
        The same shape, [0, 1].
    """
    return pixels.astype(np.float32) / np.float32(255)


def to_input(film: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Make the network's input from a film.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey film, MONOCHROME2.
    size : int
        Side of the network's input in pixels.

    Returns
    -------
    ndarray of float32, shape (size, size, 1)
        Grey values in [0, 1]: 0 is black, 1 is white.

    Raises
    ------
    InputError
        If the film is not a two-dimensional, non-empty uint8 array or the size is not positive.
    """
    return scale(prepare(film, size))[:, :, np.newaxis]
