"""Whether something has changed since the reference, and whether it is the share of pneumonia or the pictures.

The reference of a device is the site's own: its first films after the model's last good check. Against the training films a
site differs from its first day on, which says nothing about a change; that comparison is reported beside it.

A change of prevalence moves the scores along the difference of both classes and in no other direction, and the statistics of
the films by as much as their classes differ (``model.statistics.label_shift``). What changed and is not explained by that is
a change of the pictures, unless the classes of this site may differ in that way: then it stays open. A number is in alarm where the lower limit of its PSI is above ``ALARM``. The limits share an error of 5 % over all
comparisons of a check, so a check in which no PSI is above that gives an alarm in at most 2.5 % of cases, and one in which
nothing has changed in far fewer (docs/drift.md has the measured rate).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from model.drift.history import DayCounts, of_each_day, outcomes_of_each_day
from model.drift.measures import OF_INPUT, Measure, in_bins, joined
from model.statistics.label_shift import LabelShift, label_shift, shifted
from model.statistics.stability import Stability, design_effect, stability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from model.drift.reference import Reference

ALARM = 0.1
"""A PSI that is surely above this is an alarm."""
ERROR = 0.05
"""Share of checks in which some interval of all comparisons misses its PSI."""
REFERENCE_DAYS = 28
"""Days of a device's reference: whole weeks, since the films of a weekend are others."""
FEWEST_NOW, FEWEST_REFERENCE = 100, 200
"""Fewer films are not compared."""
MEASURES = 8
"""Comparisons of a device: the measures and the outcomes."""
_RARE = 5


class Verdict(StrEnum):
    """What became of the films of a device; from the worst on."""

    PICTURES = "PICTURES"
    #: The scores have changed, and nothing tells by what; or the films too, but no more than prevalence may move them.
    UNCLEAR = "UNCLEAR"
    #: Other films are refused than before; those that are judged are as before.
    REFUSALS = "REFUSALS"
    PREVALENCE = "PREVALENCE"
    NO_CHANGE = "NO_CHANGE"
    #: The reference is not complete, or the films after it are too few.
    TOO_FEW = "TOO_FEW"

    @property
    def is_alarm(self) -> bool:
        """Whether it is a change."""
        return self not in {Verdict.NO_CHANGE, Verdict.TOO_FEW}


@dataclass(frozen=True, slots=True)
class Compared:
    """A measure now and in the reference.

    ``psi`` is all that has changed, ``rest`` what is left without the change of prevalence (None where it is not known how that
    moves the measure), ``training`` the comparison with the training films, and ``moved`` the share of the films, 0 to 1, that are
    in other bins than before (total variation distance).
    """

    psi: Stability
    rest: Stability | None
    training: Stability | None
    design_effect: float
    moved: float

    @property
    def is_alarm(self) -> bool:
        """Whether it has changed and prevalence does not explain it.

        In the training films the style goes with the label and at a site it may not, so ``rest`` alone raises no alarm.
        """
        return _is_alarm(self.psi) and (self.rest is None or _is_alarm(self.rest))


@dataclass(frozen=True, slots=True)
class Drift:
    """What was found of a device: the days that were compared, the films in them, and why the verdict is as it is."""

    verdict: Verdict
    reference: tuple[date, date] | None
    now: tuple[date, date] | None
    films: int
    films_reference: int
    positive_rate: float | None
    positive_rate_reference: float | None
    prevalence: LabelShift | None = None
    measures: Mapping[Measure, Compared] = field(default_factory=dict)
    outcomes: Stability | None = None
    #: Names of the measures, or OUTCOME, that are in alarm.
    because: tuple[str, ...] = ()


def compare(
    days: Sequence[DayCounts],
    training: Reference,
    *,
    since: date,
    until: date,
    window_days: int,
    comparisons: int = MEASURES,
) -> Drift:
    """Compare the last days of a device with its first ones.

    Parameters
    ----------
    days : sequence of DayCounts
        In their order.
    training : Reference
        Of the model.
    since : date
        Earlier days do not count: the model's last good check.
    until : date
        The last day that is counted, also where this device had no films on it.
    window_days : int
        Days before and with that one that are compared.
    comparisons : int
        All comparisons of this check, over which the error is shared.

    Returns
    -------
    Drift
    """
    counted = [day for day in days if day.day >= since]
    if not counted:
        return Drift(Verdict.TOO_FEW, None, None, 0, 0, None, None)
    first = counted[0].day
    end = first + timedelta(days=REFERENCE_DAYS - 1)
    begin = max(end + timedelta(days=1), until - timedelta(days=window_days - 1))
    reference = [day for day in counted if day.day <= end]
    now = [day for day in counted if begin <= day.day <= until]
    windows = _Windows(reference, now, training, 1 - ERROR / max(comparisons, 1))
    facts = (
        (first, end),
        (begin, until) if now else None,
        sum(day.judged for day in now),
        sum(day.judged for day in reference),
        _positive_rate(now),
        _positive_rate(reference),
    )
    if not (windows.is_enough or windows.has_outcomes):
        # Before the site has a reference, its first films can only be compared with the training films.
        early = {m: found for m in Measure if (found := windows.against_training(m)) is not None}
        return Drift(Verdict.TOO_FEW, *facts, measures=early)
    shift = windows.shift()
    measures = {m: found for m in Measure if (found := windows.measure(m, shift)) is not None}
    outcomes = windows.outcomes()
    verdict, because = _verdict(measures, shift, outcomes)
    return Drift(verdict, *facts, shift, measures, outcomes, because)


@dataclass(frozen=True, slots=True)
class _Windows:
    """The films of both windows, and the level of the intervals."""

    reference: Sequence[DayCounts]
    now: Sequence[DayCounts]
    training: Reference
    level: float

    @property
    def is_enough(self) -> bool:
        return sum(day.judged for day in self.now) >= FEWEST_NOW and (
            sum(day.judged for day in self.reference) >= FEWEST_REFERENCE
        )

    @property
    def has_outcomes(self) -> bool:
        """Whether the films, judged or not, are enough: all may be refused now."""
        return sum(day.films for day in self.now) >= FEWEST_NOW and (
            sum(day.films for day in self.reference) >= FEWEST_REFERENCE
        )

    def shift(self) -> LabelShift | None:
        """The change of prevalence that the scores tell, if it is one."""
        classes = self.training.classes.get(Measure.SCORE)
        counts = self._counts(Measure.SCORE)
        if classes is None or counts is None:
            return None
        now, reference, bins, effects = counts
        return label_shift(now, reference, _joined(classes, bins), level=self.level, effects=effects)

    def measure(self, measure: Measure, shift: LabelShift | None) -> Compared | None:
        """One measure; None where too few films have it."""
        counts = self._counts(measure)
        if counts is None:
            return None
        now, reference, bins, effects = counts
        whole = stability(now, reference, level=self.level, effects=effects)
        classes, rest = self.training.classes.get(measure), None
        if classes is not None and shift is not None:
            moved = shifted(reference, _joined(classes, bins), shift.change)
            rest = stability(now, moved, level=self.level, effects=effects)
        trained = self._trained(measure, of_each_day(self.now, measure))
        in_others = float(np.abs(now / now.sum() - reference / reference.sum()).sum()) / 2
        return Compared(whole, rest, trained, max(effects), in_others)

    def against_training(self, measure: Measure) -> Compared | None:
        """A measure of all films so far, against the training films alone."""
        found = self._trained(measure, of_each_day([*self.reference, *self.now], measure))
        return None if found is None else Compared(Stability(0.0, 0.0, 0.0, found.n, 0), None, found, 1.0, 0.0)

    def outcomes(self) -> Stability | None:
        """What became of all films: judged, or refused by which reason."""
        if not self.has_outcomes:
            return None
        counts: dict[str, int] = {}
        for day in (*self.reference, *self.now):
            for name, films in day.outcomes.items():
                counts[name] = counts.get(name, 0) + films
        rare = sorted(name for name, films in counts.items() if films < _RARE)
        names = [name for name in sorted(counts) if name not in rare]
        if len(names) + bool(rare) < 2:
            return None
        now, reference = (_with_rare(days, names, rare) for days in (self.now, self.reference))
        effects = design_effect(now), design_effect(reference)
        return stability(now.sum(axis=0), reference.sum(axis=0), level=self.level, effects=effects)

    def _counts(
        self, measure: Measure
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], list[slice], tuple[float, float]] | None:
        now, reference = of_each_day(self.now, measure), of_each_day(self.reference, measure)
        if now.sum() < FEWEST_NOW or reference.sum() < FEWEST_REFERENCE:
            return None
        bins = joined(reference.sum(axis=0))
        if len(bins) < 2:
            # All films of the reference are alike: has any other come?
            bins = _around_the_fullest(reference.sum(axis=0))
        now, reference = in_bins(now, bins), in_bins(reference, bins)
        effects = design_effect(now), design_effect(reference)
        return now.sum(axis=0), reference.sum(axis=0), bins, effects

    def _trained(self, measure: Measure, days: NDArray[np.int64]) -> Stability | None:
        whole = self.training.whole(measure)
        if whole is None or days.sum() < FEWEST_NOW:
            return None
        bins = joined(whole)
        if len(bins) < 2:
            bins = _around_the_fullest(whole)
        held = in_bins(days, bins)
        return stability(held.sum(axis=0), in_bins(whole, bins), level=self.level, effects=(design_effect(held), 1.0))


def _around_the_fullest(counts: NDArray[np.int64]) -> list[slice]:
    place = int(counts.argmax())
    parts = [slice(0, place), slice(place, place + 1), slice(place + 1, len(counts))]
    return [part for part in parts if part.start < part.stop]


def _joined(
    classes: tuple[NDArray[np.int64], NDArray[np.int64]], bins: Sequence[slice]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return in_bins(classes[0], bins), in_bins(classes[1], bins)


def _with_rare(days: Sequence[DayCounts], names: Sequence[str], rare: Sequence[str]) -> NDArray[np.int64]:
    common = outcomes_of_each_day(days, names)
    if not rare:
        return common
    return np.column_stack([common, outcomes_of_each_day(days, rare).sum(axis=1)])


def _positive_rate(days: Sequence[DayCounts]) -> float | None:
    judged = sum(day.judged for day in days)
    return sum(day.positive for day in days) / judged if judged else None


def _verdict(
    measures: Mapping[Measure, Compared], shift: LabelShift | None, outcomes: Stability | None
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and what is in alarm."""
    scores = measures.get(Measure.SCORE)
    has_moved = scores is not None and _is_alarm(scores.psi)
    changed = [name for name, found in measures.items() if found.is_alarm]
    # Whatever the classes look like at a site: a change of prevalence moves no larger share of the films than itself.
    reach = 0.0 if not has_moved else max(abs(shift.low), abs(shift.high)) if shift else 1.0
    refused = ["OUTCOME"] if outcomes is not None and _is_alarm(outcomes) else []
    if any(measures[name].moved > reach or (name is Measure.SCORE and shift is not None) for name in changed):
        return Verdict.PICTURES, (*changed, *refused)
    if has_moved:
        is_told = shift is not None and not changed and all(measure in measures for measure in OF_INPUT)
        because = dict.fromkeys([Measure.SCORE, *changed, *refused])
        return (Verdict.PREVALENCE if is_told else Verdict.UNCLEAR), tuple(because)
    return (Verdict.REFUSALS if refused else Verdict.NO_CHANGE), tuple(refused)


def _is_alarm(found: Stability) -> bool:
    return found.low > ALARM
