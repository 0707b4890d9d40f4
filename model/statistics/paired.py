"""Tests of two networks on the same films: McNemar's of their labels, DeLong's of their AUCs.

Both take each film as independent of the others; films of one child are not, so the comparison also has intervals by
patient (``patient_bootstrap``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, rankdata

from model.errors import DataError
from model.statistics.intervals import Z95, Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.statistics.metrics import Numbers


@dataclass(frozen=True, slots=True)
class DeLong:
    """Two correlated AUCs. ``difference`` is first minus second, in [-1, 1], with its 95 % interval.

    ``p`` is two-sided; None where the films are too few to estimate the variance of the difference.
    """

    first: float
    second: float
    difference: float
    interval: Interval
    p: float | None


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test (Psychometrika 1947;12:153-157), from the binomial distribution.

    Parameters
    ----------
    only_first, only_second : int
        In how many films only the one and only the other was right.

    Returns
    -------
    float
        Twice the smaller tail, in (0, 1]; 1 where they never disagreed.
    """
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def normal_tails(z: float) -> float:
    """Two-sided tail of the standard normal distribution beyond ``z``, in [0, 1]."""
    return math.erfc(abs(z) / math.sqrt(2))


def delong(targets: Numbers, first: Numbers, second: Numbers) -> DeLong:
    """Compare two AUCs on the same films (DeLong et al., Biometrics 1988;44:837-845).

    The covariance comes from midranks (Sun and Xu, IEEE Signal Process Lett 2014;21:1389-1393).

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    first, second : ndarray, shape (n,)
        Scores of the two networks: only their order matters.

    Returns
    -------
    DeLong

    Raises
    ------
    DataError
        If one of the two classes has fewer than two films.
    """
    ill = np.asarray(targets) == 1
    n_ill, n_well = int(ill.sum()), int((~ill).sum())
    if min(n_ill, n_well) < 2:
        raise DataError("DeLong's test needs two films of each label")
    won, beaten = zip(*(_placements(np.asarray(scores), ill) for scores in (first, second)), strict=True)
    areas = np.mean(won, axis=1)
    covariance = np.cov(won) / n_ill + np.cov(beaten) / n_well
    difference = float(areas[0] - areas[1])
    error = math.sqrt(max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    return DeLong(
        first=float(areas[0]),
        second=float(areas[1]),
        difference=difference,
        interval=(max(-1.0, difference - Z95 * error), min(1.0, difference + Z95 * error)),
        p=_p(difference, error),
    )


def _p(difference: float, error: float) -> float | None:
    if error > 0:
        return normal_tails(difference / error)
    return 1.0 if difference == 0 else None


def _placements(scores: Numbers, ill: NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """For each pneumonia film the share of normal ones below it; for each normal film that of pneumonia ones above."""
    n_ill, n_well = int(ill.sum()), int((~ill).sum())
    ranks = rankdata(scores)
    won = (ranks[ill] - rankdata(scores[ill])) / n_well
    beaten = 1 - (ranks[~ill] - rankdata(scores[~ill])) / n_ill
    return won, beaten
