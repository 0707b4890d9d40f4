"""The radial power spectrum of a film: how much of it is coarse and how much is fine, anywhere on the film.

It says how a film was taken and processed (device, exposure, sharpening, size), not what it shows; in the public
data it alone separates the classes. `restyle` exchanges it between films, so that a network cannot rely on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS = 12
"""Bands of equal ratio between 1.5 cycles a side and Nyquist's frequency."""

LOWEST_CYCLES = 1.5
SMALLEST_PX = 96
"""Side of the smallest film of which every band has a coefficient."""

FLOOR = 1e-2
"""Power below which a band counts as empty: well under the noise of 8-bit grey."""

MAX_LOG_GAIN = 1.6
"""A band is made at most five times as strong or as weak."""


@lru_cache(maxsize=8)
def _frequencies(size: int) -> NDArray[np.float64]:
    """Cycles a side of every coefficient of ``numpy.fft.rfft2``, shape (size, size // 2 + 1)."""
    return np.asarray(np.hypot(np.fft.fftfreq(size)[:, np.newaxis] * size, np.fft.rfftfreq(size) * size))


@lru_cache(maxsize=8)
def _bands(size: int) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Band of every coefficient (BANDS where it is in none), coefficients per band, logarithm of the band's centre."""
    edges = np.geomspace(LOWEST_CYCLES, size / 2, BANDS + 1)
    band = np.digitize(_frequencies(size), edges) - 1
    band[(band < 0) | (band >= BANDS)] = BANDS
    counts = np.bincount(band.ravel(), minlength=BANDS + 1)[:BANDS].astype(np.float64)
    return band, counts, np.log(np.sqrt(edges[1:] * edges[:-1]))


@lru_cache(maxsize=8)
def _window(size: int) -> NDArray[np.float32]:
    """Hann's window in both directions: the film's edges must not count as fine detail."""
    return np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)


def log_spectrum(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logarithm of a film's mean amplitude in each band.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (size, size)
        Squashed and stretched film, [0, 255]; size is at least ``SMALLEST_PX``.

    Returns
    -------
    ndarray of float64, shape (BANDS,)
        Half the natural logarithm of the mean power, from coarse to fine.
    """
    size = pixels.shape[0]
    band, counts, _ = _bands(size)
    grey = pixels.astype(np.float32)
    power = np.square(np.abs(np.fft.rfft2((grey - grey.mean()) * _window(size))))
    means = np.bincount(band.ravel(), power.ravel(), minlength=BANDS + 1)[:BANDS] / counts
    return np.asarray(np.log(means + FLOOR) / 2, dtype=np.float64)


def with_gain(pixels: NDArray[np.uint8], log_gain: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Make the bands of a film stronger or weaker; the mean grey stays.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (size, size)
        Squashed film, [0, 255].
    log_gain : ndarray of float64, shape (BANDS,)
        Natural logarithm of each band's gain, from coarse to fine; bounded by ``MAX_LOG_GAIN`` and interpolated
        between the bands' centres.

    Returns
    -------
    ndarray of uint8, shape (size, size)
        [0, 255], clipped.
    """
    size = pixels.shape[0]
    _, _, centres = _bands(size)
    bounded = np.clip(log_gain, -MAX_LOG_GAIN, MAX_LOG_GAIN)
    gain = np.exp(np.interp(np.log(np.maximum(_frequencies(size), 0.5)), centres, bounded))
    gain[0, 0] = 1.0
    grey = np.fft.irfft2(np.fft.rfft2(pixels.astype(np.float32)) * gain.astype(np.float32), s=(size, size))
    return np.clip(grey + 0.5, 0, 255).astype(np.uint8)
