"""The style of a film, and the probability of pneumonia that it alone suggests.

Style is how a film was taken and processed, here the finer half of its radial power spectrum (``spectrum``), which an
opacity of the lung itself hardly changes. In the public data it separates the classes all the same. A stress test holds
out the films whose style is least like that of their class: a network that relies on style fails there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.spectrum import BANDS, SMALLEST_PX, log_spectrum
from model.errors import InputError
from model.statistics.logistic import cross_fitted
from model.statistics.sigmoid import sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

STYLE_BANDS = slice(BANDS // 2, BANDS)
"""The finer half of the spectrum."""


def style_features(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Style of each film.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, size, size)
        Squashed and stretched films (``preprocess.prepare``), [0, 255]; size is at least ``SMALLEST_PX``.

    Returns
    -------
    ndarray of float64, shape (n, BANDS - BANDS // 2)
        Logarithm of the amplitude in each of the finer bands.

    Raises
    ------
    InputError
        If the films have another shape or type.
    """
    if (
        pixels.dtype != np.uint8
        or pixels.ndim != 3
        or pixels.shape[1] != pixels.shape[2]
        or pixels.shape[1] < SMALLEST_PX
    ):
        raise InputError(
            f"films for a style are 8-bit, of shape (n, size, size), with a size of at least {SMALLEST_PX}"
        )
    if not len(pixels):
        return np.empty((0, BANDS - BANDS // 2))
    return np.stack([log_spectrum(film) for film in pixels])[:, STYLE_BANDS]


def style_propensity(
    features: NDArray[np.floating[Any]], targets: NDArray[np.floating[Any]], groups: NDArray[Any], seed: int
) -> NDArray[np.float64]:
    """Probability of pneumonia by style alone, each film's by a regression that has not seen its child.

    Parameters
    ----------
    features : ndarray, shape (n, f)
        ``style_features`` of the films.
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal; both count the same, whatever their number.
    groups : ndarray, shape (n,)
        The child of each film; anything that can be sorted.
    seed : int
        Decides which children are left out together.

    Returns
    -------
    ndarray of float64, shape (n,)
        [0, 1]. Where it is low for a film of pneumonia, or high for a normal one, the style does not fit the label.

    Raises
    ------
    InputError
        If the shapes do not fit or a feature is not finite.
    DataError
        If there are too few children of one label.
    """
    return sigmoid(cross_fitted(features, targets, groups, seed))
