"""Probes: figures of a film that could betray its label without showing anything of the lung.

None of them sees the chest itself, only its frame, its grey, its size and its fineness; all are cheap. A data set in
which one of them tells the labels apart invites a network to learn that instead of the disease (``shortcuts``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.data.spectrum import log_spectrum
from model.data.style import STYLE_BANDS
from model.preprocess import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

SPECTRUM_PX = 224
"""Side at which the spectrum is measured."""

BLACK = 5
"""Grey values below this are black: 2 % of white."""

_MARGIN = 0.05
_CORNER = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class ProbeInput:
    """What a probe may see of a film.

    Attributes
    ----------
    film : ndarray of uint8, shape (rows, columns)
        MONOCHROME2.
    shares : ndarray of float64, shape (256,)
        How much of the film has each grey value.
    spectrum : ndarray of float64
        ``log_spectrum`` of the film, prepared at ``SPECTRUM_PX``.
    file_bytes : int
        Size of its file.
    """

    film: NDArray[np.uint8]
    shares: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    file_bytes: int


Figures = tuple[float, ...]


def probe_input(film: NDArray[np.uint8], file_bytes: int) -> ProbeInput:
    """Prepare a film for the probes.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        MONOCHROME2.
    file_bytes : int
        Size of its file, at least 1.

    Returns
    -------
    ProbeInput

    Raises
    ------
    InputError
        If the film is not a two-dimensional, non-empty uint8 array.
    """
    spectrum = log_spectrum(prepare(film, SPECTRUM_PX))
    return ProbeInput(film, np.bincount(film.ravel(), minlength=256) / film.size, spectrum, file_bytes)


def _border(probed: ProbeInput) -> Figures:
    """Mean grey of the four margins and of the four corners."""
    film = probed.film
    depth, width = (max(1, round(_MARGIN * side)) for side in film.shape)
    high, wide = (max(1, round(_CORNER * side)) for side in film.shape)
    margins = (film[:depth], film[-depth:], film[:, :width], film[:, -width:])
    corners = (film[:high, :wide], film[:high, -wide:], film[-high:, :wide], film[-high:, -wide:])
    return tuple(float(part.mean()) for part in (*margins, *corners))


def _black_share(probed: ProbeInput) -> Figures:
    return (float(probed.shares[:BLACK].sum()),)


def _brightness(probed: ProbeInput) -> Figures:
    return (float(probed.shares @ np.arange(256)),)


def _contrast(probed: ProbeInput) -> Figures:
    """Standard deviation, and the ranges of the middle 90 % and 50 % of the greys."""
    darkest, dark, bright, brightest = np.searchsorted(probed.shares.cumsum(), (0.05, 0.25, 0.75, 0.95)).astype(float)
    variance = float(probed.shares @ np.square(np.arange(256) - _brightness(probed)[0]))
    return variance**0.5, brightest - darkest, bright - dark


def _film_size(probed: ProbeInput) -> Figures:
    """Logarithms of rows and columns, and the shape."""
    rows, columns = probed.film.shape
    return float(np.log(rows)), float(np.log(columns)), columns / rows


def _file_size(probed: ProbeInput) -> Figures:
    return (float(np.log(probed.file_bytes)),)


def _sharpness(probed: ProbeInput) -> Figures:
    """Mean step from one pixel to the next, downwards and to the right; none where there is but one row or column."""
    film = probed.film.astype(np.int16)
    steps = (np.abs(np.diff(film, axis=axis)) for axis in (0, 1))
    return tuple(float(step.mean()) if step.size else 0.0 for step in steps)


def _spectrum(probed: ProbeInput) -> Figures:
    return tuple(probed.spectrum.tolist())


def _fine_spectrum(probed: ProbeInput) -> Figures:
    return tuple(probed.spectrum[STYLE_BANDS].tolist())


PROBES: Mapping[str, Callable[[ProbeInput], Figures]] = {
    "border": _border,
    "black share": _black_share,
    "brightness": _brightness,
    "contrast": _contrast,
    "film size": _film_size,
    "file size": _file_size,
    "sharpness": _sharpness,
    "spectrum": _spectrum,
    "fine spectrum": _fine_spectrum,
}
"""The probes by name; what each gives has the same length for every film."""

SENTENCES: Mapping[str, str] = {
    "border": "mean grey of the four margins and corners",
    "black share": "share of black pixels",
    "brightness": "mean grey",
    "contrast": "standard deviation and ranges of the greys",
    "film size": "rows, columns and their ratio",
    "file size": "bytes of the file",
    "sharpness": "mean step between neighbouring pixels",
    "spectrum": "radial power spectrum, all bands",
    "fine spectrum": "radial power spectrum, the finer half",
    "all together": "every probe at once",
}
"""What each probe measures, in words; the last joins them."""
