"""Sites made up of real numbers: the answers of `auscult-2` to its validation films, and what training films look like.

A film is drawn by its label: its logit from the validation films, its statistics from the training films. Changed pictures are
the same films changed as in the stress table, with the answers of the network to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dicom_io.reasons import Reason
from model.augmentation.perturb import PERTURBATIONS
from model.drift.history import JUDGED, DayCounts
from model.drift.measures import Measure, histogram
from model.drift.reference import count_inputs, training_reference
from model.input_statistics import input_statistics
from model.labels import Label
from model.operating.stress_table import read_stressed
from model.serving.bundle import builtin_folder
from model.serving.manifest import SCOPE_FILE, STRESSED_FILE
from model.serving.scope import read_scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BUNDLE = builtin_folder() / "auscult-2"
TRAINING = training_reference(BUNDLE)
FIRST = date(2026, 1, 5)
#: PNEUMONIA from this bin of the score on: a logit of 0.
_POSITIVE_FROM = 21
#: Days of a week, Monday first, by how many films they have.
_WEEK = (1.2, 1.1, 1.1, 1.1, 1.1, 0.7, 0.7)


@dataclass(slots=True)
class Simulated:
    """A device with so many films on a day, and the share of pneumonia among them."""

    rng: np.random.Generator
    films: float = 60
    prevalence: float = 0.25
    classes: Mapping[Measure, tuple[NDArray[np.int64], NDArray[np.int64]]] | None = None
    #: Standard deviation of the prevalence from day to day: films of a day are more alike than others.
    unrest: float = 0.0
    refused: float = 0.05

    def days(self, number: int, first: date = FIRST) -> list[DayCounts]:
        """So many days, one after the other."""
        return [self._day(first + timedelta(days=place)) for place in range(number)]

    def _day(self, day: date) -> DayCounts:
        films = int(self.rng.poisson(self.films * _WEEK[day.weekday()]))
        refused = int(self.rng.binomial(films, self.refused))
        prevalence = (
            float(np.clip(self.rng.normal(self.prevalence, self.unrest), 0, 1)) if self.unrest else self.prevalence
        )
        ill = int(self.rng.binomial(films - refused, prevalence))
        histograms = {}
        for measure, (normal, pneumonia) in (self.classes or TRAINING.classes).items():
            of_normal = self.rng.multinomial(films - refused - ill, normal / normal.sum())
            histograms[measure] = (of_normal + self.rng.multinomial(ill, pneumonia / pneumonia.sum())).tolist()
        positive = sum(histograms[Measure.SCORE][_POSITIVE_FROM:])
        return DayCounts(day, positive, {JUDGED: films - refused, Reason.LATERAL_VIEW.value: refused}, histograms)


def changed_classes(
    films: Path, name: str, every: int = 20
) -> dict[Measure, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Both classes with pictures changed as this row of the stress table says; `films`: the public training films."""
    change = next(one.change for one in PERTURBATIONS if one.name == name)
    stressed = read_stressed(BUNDLE / STRESSED_FILE)
    logits = stressed.logits[list(stressed.names).index(name)]
    scores = [histogram(Measure.SCORE, logits[stressed.targets == target]) for target in (0, 1)]
    scope = read_scope(BUNDLE / SCOPE_FILE)
    looks = []
    for label in (Label.NORMAL, Label.PNEUMONIA):
        changed = [change(_grey(path)) for path in sorted((films / label).iterdir())[::every]]
        unlike = histogram(Measure.UNLIKENESS, [scope.unlikeness(film) for film in changed])
        looks.append({Measure.UNLIKENESS: unlike, **count_inputs(map(input_statistics, changed))})
    return {Measure.SCORE: (scores[0], scores[1]), **{one: (looks[0][one], looks[1][one]) for one in looks[0]}}


def _grey(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("L"))


def one_after_the_other(parts: Sequence[tuple[Simulated, int]]) -> list[DayCounts]:
    """The days of several simulations, each from the day on which the one before ends."""
    days: list[DayCounts] = []
    for simulated, number in parts:
        days += simulated.days(number, FIRST + timedelta(days=len(days)))
    return days
