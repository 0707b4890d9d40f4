"""What films of one device and model were, day by day."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from model.drift.measures import Measure, bins_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

#: Stands among the reasons for films that were judged.
JUDGED = "JUDGED"


@dataclass(frozen=True, slots=True)
class DayCounts:
    """The films of a day.

    Attributes
    ----------
    day : date
        In UTC.
    positive : int
        Films that were called PNEUMONIA.
    outcomes : mapping
        Films that were judged (``JUDGED``), and refused or failed by their reason.
    histograms : mapping
        Films in each bin (``measures.EDGES``), by measure; a measure that no film has is missing.
    """

    day: date
    positive: int
    outcomes: Mapping[str, int]
    histograms: Mapping[Measure, Sequence[int]] = field(default_factory=dict)

    @property
    def films(self) -> int:
        """All films, judged or not."""
        return sum(self.outcomes.values())

    @property
    def judged(self) -> int:
        """Films with a score."""
        return self.outcomes.get(JUDGED, 0)


def of_each_day(days: Sequence[DayCounts], measure: Measure) -> NDArray[np.int64]:
    """Films of each day in each bin, int64 (days, bins)."""
    table = np.zeros((len(days), bins_of(measure)), dtype=np.int64)
    for row, day in zip(table, days, strict=True):
        row[:] = day.histograms.get(measure, 0)
    return table


def outcomes_of_each_day(days: Sequence[DayCounts], names: Sequence[str]) -> NDArray[np.int64]:
    """Films of each day by outcome, int64 (days, names)."""
    return np.array([[day.outcomes.get(name, 0) for name in names] for day in days], dtype=np.int64).reshape(
        len(days), len(names)
    )


def added_up(days: Iterable[DayCounts]) -> list[DayCounts]:
    """The days of several devices as those of one, in their order."""
    together: dict[date, list[DayCounts]] = {}
    for day in days:
        together.setdefault(day.day, []).append(day)
    return [_sum(together[day]) for day in sorted(together)]


def _sum(days: Sequence[DayCounts]) -> DayCounts:
    if len(days) == 1:
        return days[0]
    names = sorted({name for day in days for name in day.outcomes})
    outcomes = {name: sum(day.outcomes.get(name, 0) for day in days) for name in names}
    held = {measure for day in days for measure in day.histograms}
    histograms = {measure: of_each_day(days, measure).sum(axis=0).tolist() for measure in Measure if measure in held}
    return DayCounts(days[0].day, sum(day.positive for day in days), outcomes, histograms)
