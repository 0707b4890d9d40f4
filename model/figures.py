"""Figures of scored films with two sorts of 95 % intervals: by patient (bootstrap) and by film (closed form).

The interval by patient is the one to quote. A bootstrap has no width where every sample gives the same figure, as it
does where all films are right, and it is none where half of the samples lack the figure; there the closed form stands
in its place, for as many trials as there are patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from model.errors import DataError
from model.intervals import Interval, auc_interval, wilson
from model.metrics import Ranking, calibration_error, mean_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from model.bootstrap import PatientBootstrap
    from model.evaluate import ScoredFilm
    from model.metrics import Numbers, Statistic

    Mask = NDArray[np.bool_]

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of ``n`` films. ``by_film`` is None where there is no closed form."""

    value: float
    n: int
    by_patient: Interval | None
    by_film: Interval | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a figure is to be computed; ``flat`` is the interval where the bootstrap has none or no width."""

    statistic: Statistic
    n: int
    by_film: Interval | None = None
    flat: Interval | None = None


class Sample:
    """Scored films as arrays, and the plans of their figures.

    Parameters
    ----------
    films : sequence of ScoredFilm
        At least one.

    Raises
    ------
    DataError
        If there is none.
    """

    def __init__(self, films: Sequence[ScoredFilm]) -> None:
        if not films:
            raise DataError("there is no film to measure on")
        self.patients = np.array([f"{film.picture.kind}\0{film.picture.patient}" for film in films])
        self.targets: Numbers = np.array([film.picture.label.target for film in films], dtype=np.float64)
        self.probabilities: Numbers = np.array([film.score.probability for film in films])
        self.right: Mask = np.array([film.is_right for film in films])

    @property
    def ill(self) -> Mask:
        """Which films are pneumonia."""
        return np.asarray(self.targets == 1)

    @property
    def everything(self) -> Mask:
        """All films."""
        return np.ones(len(self.targets), dtype=bool)

    def share_right(self, among: Mask) -> Plan:
        """How many of some films are called what they are: accuracy, sensitivity, specificity."""
        n, right = int(among.sum()), int((self.right & among).sum())
        patients = self.count_patients(among)
        flat = wilson(round(right / n * patients), patients) if n else None
        return Plan(mean_of(self.right, among), n, wilson(right, n), flat)

    def area(self, among: Mask) -> Plan:
        """AUC of some films, of which there are both labels."""
        index = np.flatnonzero(among)
        ranking = Ranking(self.targets[index], self.probabilities[index])
        value, ill = float(ranking.auc()), among & self.ill
        well = among & ~self.ill
        return Plan(
            lambda weights: ranking.auc(weights[..., index]),
            len(index),
            auc_interval(value, int(ill.sum()), int(well.sum())),
            auc_interval(value, self.count_patients(ill), self.count_patients(well)),
        )

    def plans(self) -> dict[str, Plan]:
        """The figures of all films together.

        Raises
        ------
        DataError
            If one of the labels has no film.
        """
        n, ranking = len(self.targets), Ranking(self.targets, self.probabilities)
        return {
            "accuracy": self.share_right(self.everything),
            "sensitivity": self.share_right(self.ill),
            "specificity": self.share_right(~self.ill),
            "auc": self.area(self.everything),
            "average_precision": Plan(ranking.average_precision, n),
            "brier": Plan(mean_of((self.probabilities - self.targets) ** 2), n),
            "ece": Plan(calibration_error(self.targets, self.probabilities), n),
        }

    def count_patients(self, among: Mask) -> int:
        """How many children these films are of."""
        return len(np.unique(self.patients[among]))

    def measure(self, plans: Mapping[Key, Plan], bootstrap: PatientBootstrap) -> dict[Key, Figure]:
        """Compute planned figures with their intervals.

        Parameters
        ----------
        plans : mapping to Plan
            Figures by any keys.
        bootstrap : PatientBootstrap
            Of these very films.

        Returns
        -------
        dict to Figure
            By the same keys.
        """
        once = np.ones(len(self.targets))
        by_patient = bootstrap.intervals({name: plan.statistic for name, plan in plans.items()})
        return {
            name: Figure(float(plan.statistic(once)), plan.n, with_width(by_patient[name], plan.flat), plan.by_film)
            for name, plan in plans.items()
        }


def with_width(interval: Interval | None, flat: Interval | None) -> Interval | None:
    """The bootstrap's interval; where it has no width or too few samples have the figure, the closed form.

    Parameters
    ----------
    interval : tuple of float or None
        By bootstrap.
    flat : tuple of float or None
        By the closed form.

    Returns
    -------
    tuple of float or None
        None where neither is known.
    """
    if interval is not None and interval[1] - interval[0] > 1e-9:
        return interval
    return flat or interval
