"""The population stability index (PSI) of two histograms with its interval, and how much days differ by themselves.

The PSI is Jeffreys' divergence of two distributions over the same bins, sum((p - q) ln(p / q)). By convention (Siddiqi,
Credit Risk Scorecards, 2006) less than 0.1 is little, more than 0.25 much. Where nothing has changed, PSI / (1/n + 1/m) of
samples of n and m follows a chi-square distribution with (bins - 1) degrees of freedom (Yurdakul, Statistical Properties of
Population Stability Index, Western Michigan University, 2018): so (bins - 1) (1/n + 1/m) of it is chance, and is taken off.
The
interval is that of the delta method, with the variance of that chi-square distribution added.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]

FEWEST_DAYS = 5
"""Fewer days do not tell how much days differ."""


@dataclass(frozen=True, slots=True)
class Stability:
    """A PSI without what chance adds, 0 or more, and the limits of its interval; of ``n`` films against ``n_reference``."""

    psi: float
    low: float
    high: float
    n: int
    n_reference: int


def shares(counts: Counts) -> NDArray[np.float64]:
    """Shares of the bins, float64 (bins,), with half a film added to each bin, so that none is 0."""
    more = np.asarray(counts, dtype=np.float64) + 0.5
    return np.asarray(more / more.sum())


def stability(
    now: Counts, reference: Counts, *, level: float = 0.95, effects: tuple[float, float] = (1.0, 1.0)
) -> Stability:
    """Compare two histograms.

    Parameters
    ----------
    now, reference : ndarray, shape (bins,)
        Films in each bin, two bins or more.
    level : float
        Level of the two-sided interval, 0 to 1.
    effects : tuple of float
        Design effects of both samples (``design_effect``), 1 or more.

    Returns
    -------
    Stability
    """
    p, q = shares(now), shares(reference)
    n, m = float(np.sum(now)), float(np.sum(reference))
    per_film, per_reference = effects[0] / max(n, 1.0), effects[1] / max(m, 1.0)
    ratio = np.log(p / q)
    variance = per_film * _spread(p, ratio + 1 - q / p) + per_reference * _spread(q, 1 - ratio - p / q)
    free, both = len(p) - 1, per_film + per_reference
    # The delta method knows no variance where the histograms are equal: that of the chi-square distribution is added.
    variance += 2 * free * both**2
    psi = float(((p - q) * ratio).sum()) - free * both
    reach = NormalDist().inv_cdf((1 + level) / 2) * float(np.sqrt(variance))
    return Stability(max(psi, 0.0), max(psi - reach, 0.0), max(psi + reach, 0.0), round(n), round(m))


def _spread(share: NDArray[np.float64], slope: NDArray[np.float64]) -> float:
    """The variance of a slope over the films: the variance of the index for one film."""
    return float(share @ slope**2 - (share @ slope) ** 2)


def design_effect(days: Counts) -> float:
    """How much more the histograms of days differ than those of samples of independent films would.

    Several films of a child, a ward round or a weekend make the films of a day alike; a sample then tells as much as one of
    1 / effect of its size (Rao and Scott, Journal of the American Statistical Association 76, 1981). It is Pearson's
    chi-square of days and bins by its degrees of freedom.

    Parameters
    ----------
    days : ndarray, shape (days, bins)
        Films of each day in each bin.

    Returns
    -------
    float
        1 or more; 1 where fewer than five days have films.
    """
    table = np.asarray(days, dtype=np.float64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if len(table) < FEWEST_DAYS or table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chi_square = float((np.square(table - expected) / expected).sum())
    return max(chi_square / float((table.shape[0] - 1) * (table.shape[1] - 1)), 1.0)
