"""What is compared, and in which bins it is counted.

The bins are fine and the same for every model and device, so that the counts of days can be added up. For a comparison they
are joined until each holds a tenth of the reference (``joined``).
"""

from __future__ import annotations

from bisect import bisect_right
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LEAST_SHARE = 0.1
"""Share of the reference that each joined bin holds at least."""


class Measure(StrEnum):
    """A number of each film that the network has seen."""

    #: The network's logit: the score before calibration, so that a new operating point does not change it.
    SCORE = "SCORE"
    #: How unlike the training films it is, by the scope of the bundle.
    UNLIKENESS = "UNLIKENESS"
    MEAN_GREY = "MEAN_GREY"
    CONTRAST = "CONTRAST"
    DARK_SHARE = "DARK_SHARE"
    BRIGHT_SHARE = "BRIGHT_SHARE"
    SHARPNESS = "SHARPNESS"


OF_INPUT = tuple(measure for measure in Measure if measure not in {Measure.SCORE, Measure.UNLIKENESS})
"""The measures of ``model.input_statistics``; their names in lower case are its fields."""

_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)


def _steps(first: float, last: float, number: int) -> tuple[float, ...]:
    return tuple(round(first + (last - first) * step / number, 6) for step in range(number + 1))


EDGES: Mapping[Measure, tuple[float, ...]] = {
    Measure.SCORE: _steps(-10, 10, 40),
    Measure.UNLIKENESS: _steps(0.1, 2, 19),
    Measure.MEAN_GREY: _steps(8, 248, 40),
    Measure.CONTRAST: _steps(4, 124, 40),
    Measure.DARK_SHARE: _SHARES,
    Measure.BRIGHT_SHARE: _SHARES,
    Measure.SHARPNESS: _steps(0.02, 0.3, 40),
}
"""Where the bins meet; below the first and from the last on there is one bin more."""


def bin_of(measure: Measure, value: float) -> int:
    """The number of the bin of a value; a value on an edge is in the bin above it."""
    return bisect_right(EDGES[measure], value)


def bins_of(measure: Measure) -> int:
    """The number of bins."""
    return len(EDGES[measure]) + 1


def histogram(measure: Measure, values: NDArray[np.floating[Any]] | Sequence[float]) -> NDArray[np.int64]:
    """Count values in the bins, int64 (bins,)."""
    return np.bincount(np.searchsorted(EDGES[measure], values, side="right"), minlength=bins_of(measure))


def joined(reference: NDArray[Any]) -> list[slice]:
    """Join neighbouring bins until each holds at least a tenth of the reference.

    Parameters
    ----------
    reference : ndarray, shape (bins,)
        Films in each bin.

    Returns
    -------
    list of slice
        Bins that are one from now on; together all bins.
    """
    ends, held = [0], 0.0
    least = LEAST_SHARE * float(reference.sum())
    for place, films in enumerate(reference):
        held += float(films)
        if held >= least and held > 0:
            ends.append(place + 1)
            held = 0.0
    # What is left at the end goes to the last bin.
    ends = [*ends[:-1], len(reference)] if len(ends) > 1 else [0, len(reference)]
    return [slice(low, high) for low, high in pairwise(ends)]


def in_bins(counts: NDArray[Any], bins: Sequence[slice]) -> NDArray[Any]:
    """Add up counts, (..., fine bins), within joined bins: (..., bins)."""
    return np.stack([counts[..., one].sum(axis=-1) for one in bins], axis=-1)
