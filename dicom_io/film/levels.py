"""Step 6b of the flow: the film of a JPEG 2000 or HTJ2K picture from a lower resolution of its code stream.

The mean of a block is estimated from the samples of a level that lie in and beside it, with weights that are best for
the low-pass filter of the wavelet: they make up for the samples not lying in the middle of what they stand for. How good
that is depends on how sharp the picture is, which no header says: lead letters and burned-in text are the worst. So the
film is made of the level of twice its size. Where that level shows an edge, or does not agree with the next lower one,
the picture is decoded in full (``mending``). What decides is thus in the code stream alone, and all sums are exact, so
the film does not depend on the machine.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dicom_io.film.blocks import between
from dicom_io.film.mending import mended
from dicom_io.pixels.wavelet import low_pass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicom_io.film.luts import Floats
    from dicom_io.pixels.wavelet import Wavelet

    Grey = NDArray[np.uint8]

#: How far the films of two levels may be apart around a pixel, in grey levels (root of the mean square).
_MOST_APART = 2
#: The hardest edge around a pixel, as the second difference of neighbouring samples in grey levels (root of the mean
#: square). Letters have 100 and more, and two levels may agree on them and be wrong.
_HARDEST_EDGE = 30
#: The low-pass filters of the wavelets (ITU-T T.800 annex F.4.8), middle first: reversible 5/3 and irreversible 9/7.
_REVERSIBLE = (0.75, 0.25, -0.125)
_IRREVERSIBLE = (0.602949018236, 0.266864118443, -0.078223266529, -0.016864118443, 0.026748757411)
#: How much of a pixel its neighbour tells, for which the weights are best; and what they are multiples of, so that sums
#: are exact.
_CORRELATION = 0.98
_UNIT = 1 / 4096


def film_of_levels(wavelet: Wavelet, curve: Floats, block: int) -> Grey | None:
    """Make a film from a lower resolution.

    Parameters
    ----------
    wavelet : Wavelet
        The code stream.
    curve : numpy.ndarray
        The grey, 0 to 255, of every stored value.
    block : int
        The side of the blocks, in pixels, that become one pixel of the film: a power of two, 4 or more.

    Returns
    -------
    numpy.ndarray or None
        Shape (ceil(rows / block), ceil(columns / block)), uint8; None if the full picture is needed.

    Raises
    ------
    FilmError
        DECODE_FAILED or TOO_LARGE.
    """
    level = block.bit_length() - 2
    if level not in wavelet.levels:
        return None
    samples = low_pass(wavelet, level)
    film = _means(samples, level, curve, block, wavelet)
    apart = film - _means(_halved(samples, wavelet), level + 1, curve, block, wavelet)
    edges = _edges(between(curve, samples.clip(0, curve.size - 1)), block >> level, film.shape)
    doubtful = (_around(apart**2) > _MOST_APART**2) | (_around(edges) > _HARDEST_EDGE**2)
    return mended(film, _grown(doubtful), wavelet, curve, block)


def _means(samples: Floats, level: int, curve: Floats, block: int, wavelet: Wavelet) -> Floats:
    """The greys of the mean of each block; shape of the film."""
    weights = _weights(wavelet.is_reversible, level, block)
    means = _block_means(samples, block >> level, -(-wavelet.rows // block), weights)
    means = _block_means(means.T, block >> level, -(-wavelet.columns // block), weights).T
    return between(curve, means.clip(0, curve.size - 1))


def _block_means(samples: Floats, inside: int, count: int, weights: Floats) -> Floats:
    """Estimate the means of blocks of rows from the samples inside, one before and two behind."""
    missing = max(0, (count - 1) * inside + len(weights) - 1 - len(samples))
    rows = np.pad(samples, ((1, missing), (0, 0)), mode="edge")
    means: Floats = sum(
        (rows[place : place + (count - 1) * inside + 1 : inside] * weight for place, weight in enumerate(weights)),
        start=np.zeros((count, samples.shape[1])),
    )
    return means


@lru_cache
def _weights(is_reversible: bool, level: int, block: int) -> Floats:  # noqa: FBT001 - lru_cache knows no keywords
    """Compute the weights of the samples that estimate the mean of a block best (least squares), with the sum 1.

    Sample n is the picture seen through the low-pass filter of all levels, with its middle on pixel n * 2 ** level.
    """
    side = 1 << level
    seen = np.ones(1)
    for halving in range(level):
        spread = np.zeros(((len(_filter(is_reversible)) - 1) << halving) + 1)
        spread[:: 1 << halving] = _filter(is_reversible)
        seen = np.convolve(seen, spread)
    middle, places = len(seen) // 2, np.arange(-1, block // side + 2)
    line = np.zeros((len(places) + 1, 2 * len(seen) + 2 * block + 6 * side))
    origin = len(seen) + 2 * side
    for row, place in enumerate(places):
        line[row, origin + place * side - middle :][: len(seen)] = seen
    line[-1, origin : origin + block] = 1 / block
    pixels = np.arange(line.shape[1])
    alike = line @ _CORRELATION ** np.abs(pixels[:, None] - pixels) @ line.T
    # the condition that the weights add up to 1, by a Lagrange multiplier
    left = np.ones((len(places) + 1, len(places) + 1))
    left[:-1, :-1], left[-1, -1] = alike[:-1, :-1], 0
    weights = np.linalg.solve(left, np.append(alike[:-1, -1], 1))[:-1]
    weights = np.rint(weights / _UNIT) * _UNIT
    weights[len(weights) // 2] += 1 - weights.sum()
    return weights


def _filter(is_reversible: bool) -> Floats:  # noqa: FBT001 - as above
    half = _REVERSIBLE if is_reversible else _IRREVERSIBLE
    return np.array([*half[:0:-1], *half])


def _halved(samples: Floats, wavelet: Wavelet) -> Floats:
    """The next lower resolution."""
    weights = np.rint(_filter(wavelet.is_reversible) / _UNIT) * _UNIT
    reach = len(weights) // 2
    for _ in range(2):
        framed = np.pad(samples, ((reach, reach + 1), (0, 0)), mode="reflect")
        count = -(-len(samples) // 2)
        samples = sum(
            (framed[place : place + 2 * count - 1 : 2] * weight for place, weight in enumerate(weights)),
            start=np.zeros((count, samples.shape[1])),
        ).T
    return samples


def _edges(greys: Floats, inside: int, shape: tuple[int, ...]) -> Floats:
    """The mean square of the second differences of the samples of each block; shape of the film."""
    squares = np.zeros(greys.shape)
    squares[1:-1] += np.diff(greys, 2, 0) ** 2
    squares[:, 1:-1] += np.diff(greys, 2, 1) ** 2
    missing = np.array(shape) * inside - squares.shape
    padded = np.pad(squares, [(0, count) for count in missing])
    means: Floats = padded.reshape(shape[0], inside, shape[1], inside).mean(axis=(1, 3))
    return means


def _around(values: Floats) -> Floats:
    """The mean of each value and its eight neighbours."""
    framed = np.pad(values, 1, mode="edge")
    rows = framed[:-2] + framed[1:-1] + framed[2:]
    means: Floats = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return means


def _grown(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Each flag and its eight neighbours."""
    framed = np.pad(flags, 1)
    rows = framed[:-2] | framed[1:-1] | framed[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
