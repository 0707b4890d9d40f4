"""Is a line flat? Growth over the whole soak with its interval, compared with a tolerance that was set before."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: A process is warm after this time; the memory of a new one was seen to rise for five to seven minutes.
WARM_S = 300.0
#: Width of the means that the line is fitted through, and how far errors may hang together, in such widths.
STEP_S, LAGS = 30.0, 6
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Growth:
    """What a line gains from the first to the last moment of the soak, in its own unit, with a 95 % interval."""

    name: str
    level: float
    change: float
    low: float
    high: float
    tolerance: float
    points: int

    @property
    def verdict(self) -> str:
        """FLAT: the whole interval is within the tolerance. GROWS: all of it is above. Else the soak does not tell."""
        if -self.tolerance <= self.low and self.high <= self.tolerance:
            return "FLAT"
        if self.low > self.tolerance:
            return "GROWS"
        return "FALLS" if self.high < -self.tolerance else "NOT SHOWN"


def growth(name: str, rows: Iterable[tuple[str, float, float]], seconds: float, tolerance: float) -> Growth:
    """Fit one slope through the lives of all processes of a part, each with a level of its own.

    Parameters
    ----------
    name : str
        Of the line.
    rows : iterable of (life, seconds, value)
        A killed process and its successor are two lives.
    seconds : float
        Length of the soak.
    tolerance : float
        Largest change over the soak that counts as flat, as a share of the level; at least one unit.

    Returns
    -------
    Growth
        With the interval of Newey and West (1987): neighbouring means are not independent.
    """
    lives = _means(rows)
    moments = [np.array([at for at, _ in life]) for life in lives]
    values = [np.array([value for _, value in life]) for life in lives]
    level = float(np.concatenate(values).mean()) if values else 0.0
    bound = max(tolerance * level, 1.0)
    points = sum(map(len, values))
    spread = sum(float(((at - at.mean()) ** 2).sum()) for at in moments)
    free = points - len(lives) - 1
    if free < 2 or not spread:
        return Growth(name, level, 0.0, -np.inf, np.inf, bound, points)
    slope = sum(float(((at - at.mean()) * value).sum()) for at, value in zip(moments, values, strict=True)) / spread
    error = np.sqrt(_variance(moments, values, slope)) / spread * np.sqrt(points / free)
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, free)) * error
    return Growth(name, level, slope * seconds, (slope - reach) * seconds, (slope + reach) * seconds, bound, points)


def _means(rows: Iterable[tuple[str, float, float]]) -> list[list[tuple[float, float]]]:
    """Means of each life over steps of equal width; lives of fewer than three steps say nothing about a slope."""
    cells: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for life, at, value in rows:
        cells[life][int(at // STEP_S)].append((at, value))
    lives = [[tuple(np.mean(cell, axis=0).tolist()) for _, cell in sorted(steps.items())] for steps in cells.values()]
    return [life for life in lives if len(life) >= 3]


def _variance(moments: Sequence[NDArray[Any]], values: Sequence[NDArray[Any]], slope: float) -> float:
    total = 0.0
    for at, value in zip(moments, values, strict=True):
        x = at - at.mean()
        score = x * (value - value.mean() - slope * x)
        total += float((score**2).sum())
        for lag in range(1, min(LAGS, len(score) - 1) + 1):
            total += 2 * (1 - lag / (LAGS + 1)) * float((score[lag:] * score[:-lag]).sum())
    return max(total, 0.0)
