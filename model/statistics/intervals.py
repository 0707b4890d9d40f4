"""95 % intervals in closed form; they treat all films as independent of each other.

Intervals of proportions are Wilson's (scipy's); that of a paired difference is Newcombe's method 10 (Stat Med
1998;17:2635-2650), which combines two of Wilson's. That of the AUC is Newcombe's method 5 (Stat Med 2006;25:559-573), the
score form of Hanley and McNeil's, which stays inside [0, 1] and keeps a width where the AUC is 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Interval = tuple[float, float]
Z95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's 95 % score interval of a proportion.

    Parameters
    ----------
    successes, trials : int
        0 <= successes <= trials; with no trial the interval is (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper bound in [0, 1].
    """
    if trials == 0:
        return 0.0, 1.0
    # Takes a second or two to load, and belongs to the extra `evaluate`: serving imports this module without it.
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    # At 0 and at 1 one bound is exact; rounding must not leave it a hair outside.
    return (0.0 if successes == 0 else float(interval.low), 1.0 if successes == trials else float(interval.high))


def auc_interval(area: float, n_positive: int, n_negative: int) -> Interval:
    """95 % interval of an AUC by Newcombe's method 5.

    Parameters
    ----------
    area : float
        The AUC, in [0, 1].
    n_positive, n_negative : int
        Films of each class, at least 1.

    Returns
    -------
    tuple of float
        Lower and upper bound in [0, 1].
    """
    mean = (n_positive + n_negative) / 2

    def excess(theta: float) -> float:
        spread = 1 + (mean - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = theta * (1 - theta) * spread / (n_positive * n_negative)
        return (area - theta) ** 2 - Z95 * Z95 * variance

    return _bisect(excess, 0.0, area), _bisect(excess, 1.0, area)


def _bisect(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where ``excess`` turns from positive (outside the interval) to negative.

    scipy's root finders stop at the AUC itself where that is 0 or 1, since the equation holds there too.
    """
    if excess(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excess(middle) > 0 else (outside, middle)
    return inside


def paired_difference_interval(both: int, only_first: int, only_second: int, neither: int) -> Interval:
    """95 % interval of the difference between two proportions of the same trials, by Newcombe's method 10.

    Parameters
    ----------
    both, only_first, only_second, neither : int
        In how many trials each way succeeded; with no trial the interval is (-1, 1).

    Returns
    -------
    tuple of float
        Lower and upper bound of (share of the first) - (share of the second), in [-1, 1].
    """
    trials = both + only_first + only_second + neither
    if trials == 0:
        return -1.0, 1.0
    first, second = both + only_first, both + only_second
    low_1, high_1 = wilson(first, trials)
    low_2, high_2 = wilson(second, trials)
    down_1, up_1 = first / trials - low_1, high_1 - first / trials
    down_2, up_2 = second / trials - low_2, high_2 - second / trials
    together = _correlation(both, only_first, only_second, neither)
    difference = (only_first - only_second) / trials
    below = math.sqrt(max(0.0, down_1**2 - 2 * together * down_1 * up_2 + up_2**2))
    above = math.sqrt(max(0.0, up_1**2 - 2 * together * up_1 * down_2 + down_2**2))
    return max(-1.0, difference - below), min(1.0, difference + above)


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Phi of the two ways; a positive one is corrected for continuity, as method 10 asks."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    excess = float(both * neither - only_first * only_second)
    if excess > 0:
        excess = max(0.0, excess - (both + only_first + only_second + neither) / 2)
    return excess / math.sqrt(margins)
