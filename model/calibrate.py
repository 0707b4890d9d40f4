"""From logits to probabilities, an operating point and bands, all found on films the network was not trained on.

The probability is that of a film from a place where half the films show pneumonia: neither label is favoured, and
where fewer or more do, it must be read accordingly.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import DataError
from model.intervals import wilson
from model.labels import Band
from model.logistic import fit_logistic, sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

RULED_OUT = 0.99
"""The low band ends where cross-validated sensitivity is still this high."""

RULED_IN = 0.99
"""The high band begins where cross-validated specificity is this high."""


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
    """What was found among the cross-validated films of one band: how many, and how many with pneumonia."""

    films: int
    pneumonia: int
    rate_ci: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Bands:
    """Three ranges of probability: LOW is below ``low``, HIGH from ``high`` on."""

    low: float
    high: float
    observed: dict[Band, Observed]

    def band(self, probability: float) -> Band:
        """The band of a probability in [0, 1]."""
        if probability < self.low:
            return Band.LOW
        return Band.HIGH if probability >= self.high else Band.INTERMEDIATE

    def as_dict(self) -> dict[str, Any]:
        """Give the bands in a form that JSON can hold."""
        observed = {band.value: asdict(found) for band, found in self.observed.items()}
        return {"low": self.low, "high": self.high, "observed": observed}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Bands:
        """Take them from what ``as_dict`` gave; raises KeyError, TypeError or ValueError if they are not whole."""
        low, high = float(fields["low"]), float(fields["high"])
        if not 0 <= low <= high <= 1:
            raise ValueError("bands go from low to high")
        observed = {
            Band(name): Observed(int(found["films"]), int(found["pneumonia"]), _pair(found["rate_ci"]))
            for name, found in fields["observed"].items()
        }
        return cls(low, high, observed)


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


def fit_bands(targets: NDArray[np.float64], probabilities: NDArray[np.float64], threshold: float) -> Bands:
    """Find the bands: LOW rules pneumonia out, HIGH rules it in, and the threshold lies between or at an edge.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray of float64, shape (n,)
        [0, 1], cross-validated.
    threshold : float
        The operating point.

    Returns
    -------
    Bands
        With what was observed in each.

    Raises
    ------
    DataError
        If one label has no film.
    """
    low = min(threshold_of(targets, probabilities, RULED_OUT), threshold)
    # The mirror image: the lowest threshold that calls at most 1 % of the normal films PNEUMONIA.
    high = max(1 - threshold_of(1 - targets, 1 - probabilities, RULED_IN), threshold)
    bands = Bands(low, round(high, 4), {})
    found = np.array([bands.band(value) for value in probabilities])
    observed = {band: _observed(targets[found == band]) for band in Band}
    return Bands(bands.low, bands.high, observed)


def _observed(targets: NDArray[np.float64]) -> Observed:
    films, pneumonia = len(targets), int(targets.sum())
    return Observed(films, pneumonia, wilson(pneumonia, films) if films else None)
