"""From logits to probabilities, an operating point and bands, all fitted on films the network was not trained on.

The probability holds for a place where half the films show pneumonia, so neither label is favoured; for another
prevalence it must be restated.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import DataError
from model.labels import Band
from model.statistics.intervals import wilson
from model.statistics.logistic import fit_logistic
from model.statistics.sigmoid import sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAX_ERROR = 0.01
"""What P(LOW | pneumonia) and P(HIGH | normal) may be at most."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling (Platt 1999): the probability is ``sigmoid(slope * logit + intercept)``."""

    slope: float
    intercept: float

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of pneumonia, [0, 1], of a network's logits; any shape."""
        return sigmoid(self.slope * logits + self.intercept)

    def as_dict(self) -> dict[str, float]:
        """Give the figures in a form that JSON can hold."""
        return asdict(self)


UNCALIBRATED = Calibration(1.0, 0.0)
"""The logit as it is."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Cross-validated films of one band: how many, and how many with pneumonia."""

    films: int
    pneumonia: int
    rate_ci: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound that bands promise (``fit_bands``): either error is at most ``error``, counted ``by`` child or by film.

    ``pneumonia`` and ``normal`` are how many children, or films, of each label that rests on.
    """

    error: float
    by: str
    pneumonia: int
    normal: int


@dataclass(frozen=True, slots=True)
class Bands:
    """Three ranges of probability: LOW is below ``low``, HIGH from ``high`` on; older bundles promise no ``bound``."""

    low: float
    high: float
    observed: dict[Band, Observed]
    bound: Bound | None = None

    def band(self, probability: float) -> Band:
        """The band of a probability in [0, 1]."""
        if probability < self.low:
            return Band.LOW
        return Band.HIGH if probability >= self.high else Band.INTERMEDIATE

    def as_dict(self) -> dict[str, Any]:
        """Give the bands in a form that JSON can hold."""
        observed = {band.value: asdict(found) for band, found in self.observed.items()}
        bound = {"bound": asdict(self.bound)} if self.bound else {}
        return {"low": self.low, "high": self.high, "observed": observed, **bound}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Bands:
        """Read what ``as_dict`` gave; raises KeyError, TypeError or ValueError if it is incomplete."""
        low, high = float(fields["low"]), float(fields["high"])
        if not 0 <= low <= high <= 1:
            raise ValueError("bands go from low to high")
        observed = {
            Band(name): Observed(int(found["films"]), int(found["pneumonia"]), _pair(found["rate_ci"]))
            for name, found in fields["observed"].items()
        }
        return cls(low, high, observed, Bound(**fields["bound"]) if "bound" in fields else None)


def _pair(values: Any) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))


def fit_calibration(targets: NDArray[np.float64], logits: NDArray[np.float64]) -> Calibration:
    """Fit slope and intercept so that both labels weigh the same.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    logits : ndarray of float64, shape (n,)
        Cross-validated: of films the network was not trained on.

    Returns
    -------
    Calibration

    Raises
    ------
    DataError
        If one label has no film, or larger logits do not mean more pneumonia.
    """
    fitted = fit_logistic(logits[:, np.newaxis], targets)
    slope = float(fitted.coefficients[0] / fitted.deviation[0])
    if slope <= 0:
        raise DataError("the network's logits do not rise with pneumonia: it cannot be calibrated")
    return Calibration(slope, fitted.intercept - slope * float(fitted.mean[0]))


def threshold_of(targets: NDArray[np.float64], probabilities: NDArray[np.float64], sensitivity: float) -> float:
    """The highest threshold at which at least ``sensitivity`` of the films of pneumonia are called PNEUMONIA.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray of float64, shape (n,)
        [0, 1], cross-validated.
    sensitivity : float
        Wanted share, in (0, 1].

    Returns
    -------
    float
        In (0, 1), rounded down to four digits, so that it reads well and never costs sensitivity.

    Raises
    ------
    DataError
        If no film shows pneumonia.
    """
    positive = np.sort(probabilities[targets == 1])[::-1]
    if not len(positive):
        raise DataError("a threshold needs films with pneumonia")
    kept = positive[int(np.ceil(sensitivity * len(positive))) - 1]
    return float(np.clip(np.floor(kept * 1e4) / 1e4, 1e-4, 1 - 1e-4))


def fit_bands(
    targets: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    threshold: float,
    children: NDArray[np.int64] | None = None,
) -> Bands:
    """Find bands whose errors are bounded: P(LOW | pneumonia) and P(HIGH | normal) are each at most ``MAX_ERROR``.

    Split conformal prediction (Angelopoulos and Bates 2021, "A gentle introduction to conformal prediction", section
    1; by label as in their section 4.4), counted by child: a child is an error when any of its films is in the wrong
    outer band. Of n children with pneumonia, each with the lowest of its films' probabilities, the k-th lowest with
    k = floor(MAX_ERROR (n + 1)) is where LOW must end; a further child like these is below it with a probability of
    at most k / (n + 1). That is done for each row of changed films apart and the most cautious bound is kept, so that
    it holds for films like any of the rows. HIGH is the mirror image.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray of float64, shape (rows, n)
        [0, 1], of films held out; the first row is the films as they are.
    threshold : float
        The operating point; it lies between the outer bands or at the edge of one, which can only lower the errors.
    children : ndarray of int64, shape (n,), optional
        The child of each film; without it each film counts as a child.

    Returns
    -------
    Bands
        With what was observed in each among the films as they are. With fewer than 1 / ``MAX_ERROR`` - 1 children of a
        label no bound can be given, and the band is empty.

    Raises
    ------
    DataError
        If one label has no film.
    """
    by = "film" if children is None else "child"
    of = np.arange(len(targets)) if children is None else children
    ill = targets == 1
    if ill.all() or not ill.any():
        raise DataError("bands need films of both labels")
    low = min(_bound(probabilities[:, ill], of[ill]), threshold)
    high = max(round(1 - _bound(1 - probabilities[:, ~ill], of[~ill]), 4), threshold)
    bound = Bound(MAX_ERROR, by, len(np.unique(of[ill])), len(np.unique(of[~ill])))
    bands = Bands(low, high, {}, bound)
    found = np.array([bands.band(value) for value in probabilities[0]])
    observed = {band: _observed(targets[found == band]) for band in Band}
    return Bands(low, high, observed, bound)


def _bound(scores: NDArray[np.float64], children: NDArray[np.int64]) -> float:
    """The highest number of four digits that, in each row, is above the lowest score of few enough children."""
    names, place = np.unique(children, return_inverse=True)
    lowest = np.full((len(names), len(scores)), np.inf)
    np.minimum.at(lowest, place, scores.T)
    allowed = int(MAX_ERROR * (len(names) + 1))
    if not allowed:
        return 0.0
    # Below the score itself, so that "at least" in one band and "below" in the other are both strict.
    kept = np.sort(lowest, axis=0)[allowed - 1].min()
    return float(max(np.ceil(kept * 1e4 - 1) / 1e4, 0.0))


def _observed(targets: NDArray[np.float64]) -> Observed:
    films, pneumonia = len(targets), int(targets.sum())
    return Observed(films, pneumonia, wilson(pneumonia, films) if films else None)
