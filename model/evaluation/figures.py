"""Figures of scored films with two kinds of 95 % intervals: by patient (bootstrap) and by film (closed form).

The interval by patient is the one to quote. A bootstrap interval has no width where every sample gives the same figure,
as when all films are right, and does not exist where half of the samples lack the figure; then the closed form replaces
it, for as many trials as there are patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from model.errors import DataError
from model.statistics.intervals import Interval, auc_interval, wilson
from model.statistics.metrics import Ranking, calibration_error, mean_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from model.evaluation.scoring import ScoredFilm
    from model.statistics.metrics import Numbers, Statistic
    from model.statistics.patient_bootstrap import PatientBootstrap

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
class FigurePlan:
    """How a figure is computed; ``flat`` is the interval where the bootstrap has none or no width."""

    statistic: Statistic
    n: int
    by_film: Interval | None = None
    flat: Interval | None = None


def children_of(films: Sequence[ScoredFilm]) -> NDArray[np.str_]:
    """The child of each film, by kind and patient, which together name one: shape (n,)."""
    return np.array([f"{film.picture.kind}\0{film.picture.patient}" for film in films], dtype=np.str_)


class Sample:
    """Scores of labelled films as arrays, and how their figures are computed.

    Parameters
    ----------
    patients : ndarray of str, shape (n,)
        The child of each film.
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray of float64, shape (n,)
        Of pneumonia, [0, 1].
    right : ndarray of bool, shape (n,)
        Whether the label called is the film's.

    Raises
    ------
    DataError
        If there are no films.
    """

    def __init__(self, patients: NDArray[np.str_], targets: Numbers, probabilities: Numbers, right: Mask) -> None:
        if not len(targets):
            raise DataError("there are no films to measure on")
        self.patients = patients
        self.targets: Numbers = targets
        self.probabilities: Numbers = probabilities
        self.right: Mask = right

    @classmethod
    def of(cls, films: Sequence[ScoredFilm]) -> Sample:
        """Take scored films; raises DataError if there is none."""
        return cls(
            children_of(films),
            np.array([film.picture.label.target for film in films], dtype=np.float64),
            np.array([film.score.probability for film in films]),
            np.array([film.is_right for film in films]),
        )

    @property
    def ill(self) -> Mask:
        """Which films are pneumonia."""
        return np.asarray(self.targets == 1)

    @property
    def everything(self) -> Mask:
        """All films."""
        return np.ones(len(self.targets), dtype=bool)

    def share_right(self, among: Mask) -> FigurePlan:
        """Share of some films that are called rightly: accuracy, sensitivity, specificity."""
        n, right = int(among.sum()), int((self.right & among).sum())
        patients = self.count_patients(among)
        flat = wilson(round(right / n * patients), patients) if n else None
        return FigurePlan(mean_of(self.right, among), n, wilson(right, n), flat)

    def area(self, among: Mask) -> FigurePlan:
        """AUC of some films; both labels must be among them."""
        index = np.flatnonzero(among)
        ranking = Ranking(self.targets[index], self.probabilities[index])
        value, ill = float(ranking.auc()), among & self.ill
        well = among & ~self.ill
        return FigurePlan(
            lambda weights: ranking.auc(weights[..., index]),
            len(index),
            auc_interval(value, int(ill.sum()), int(well.sum())),
            auc_interval(value, self.count_patients(ill), self.count_patients(well)),
        )

    def plans(self) -> dict[str, FigurePlan]:
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
            "average_precision": FigurePlan(ranking.average_precision, n),
            "brier": FigurePlan(mean_of((self.probabilities - self.targets) ** 2), n),
            "ece": FigurePlan(calibration_error(self.targets, self.probabilities), n),
        }

    def count_patients(self, among: Mask) -> int:
        """How many children these films are of."""
        return len(np.unique(self.patients[among]))

    def measure(self, plans: Mapping[Key, FigurePlan], bootstrap: PatientBootstrap) -> dict[Key, Figure]:
        """Compute planned figures with their intervals.

        Parameters
        ----------
        plans : mapping to FigurePlan
            Figures by any keys.
        bootstrap : PatientBootstrap
            Of the same films.

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
