"""An operating point for one site: the intercept of the calibration, fitted on films of that site.

The slope stays that of the bundle. With a few hundred films an intercept alone does as well as slope and intercept,
and better than a threshold alone (Steyerberg et al., Stat Med 2004;23:2567-2586: "recalibration in the large"). Both
labels weigh the same, and a film is PNEUMONIA from a probability of one half on, so that both kinds of error weigh
the same, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq

from model.errors import DataError, InputError
from model.evaluation.figures import children_of
from model.operating.calibration import UNCALIBRATED, Calibration
from model.operating.operating_point import EVEN_THRESHOLD, FittedPoint
from model.statistics.group_folds import FOLDS, group_folds
from model.statistics.sigmoid import sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from model.evaluation.scoring import ScoredFilm
    from model.operating.calibration import Bands
    from model.serving.bundle import Bundle

SEED = 1


@dataclass(frozen=True, slots=True)
class CalibratedPoint(FittedPoint):
    """An operating point that always has a calibration, which may be the identity."""

    calibration: Calibration

    @classmethod
    def of(cls, bundle: Bundle) -> CalibratedPoint:
        """Take it from a bundle."""
        return cls(bundle.calibration or UNCALIBRATED, bundle.threshold)

    @property
    def logit(self) -> float:
        """The logit from which on a film is PNEUMONIA."""
        odds = math.log(self.threshold / (1 - self.threshold))
        return (odds - self.calibration.intercept) / self.calibration.slope

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"calibration": self.calibration.as_dict(), "threshold": self.threshold, "logit": self.logit}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledLogits:
    """Labels of films and the network's logits, whatever their source.

    ``targets`` is 1 for pneumonia and 0 for normal, ``logits`` are the network's own, ``children`` the child of
    each film; all of shape (n,).
    """

    targets: NDArray[np.float64]
    logits: NDArray[np.float64]
    children: NDArray[np.str_]

    @classmethod
    def of(cls, films: Sequence[ScoredFilm]) -> LabelledLogits:
        """Take them from scored films."""
        return cls(
            np.array([film.picture.label.target for film in films], dtype=np.float64),
            np.array([film.score.logit for film in films], dtype=np.float64),
            children_of(films),
        )


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitted:
    """Probabilities by operating points that were fitted without any film of the same child.

    ``points`` has one for each fold; ``fold`` (int64), ``probabilities`` (float64, [0, 1]) and ``called`` (bool:
    PNEUMONIA) are of shape (n,).
    """

    points: tuple[CalibratedPoint, ...]
    fold: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    called: NDArray[np.bool_]


def fit_intercept(targets: NDArray[np.float64], logits: NDArray[np.float64], slope: float) -> CalibratedPoint:
    """Fit the intercept so that both labels weigh the same: balanced maximum likelihood at a fixed slope.

    Its equation says that the mean probability missing to 1 among the pneumonia films equals the mean probability among
    the normal ones. It has exactly one solution, also where the logits separate the labels perfectly.

    Parameters
    ----------
    targets : ndarray of float64, shape (n,)
        1 for pneumonia, 0 for normal.
    logits : ndarray of float64, shape (n,)
        The network's, finite.
    slope : float
        Of the bundle's calibration, above 0.

    Returns
    -------
    CalibratedPoint
        Its threshold is ``EVEN_THRESHOLD``.

    Raises
    ------
    DataError
        If one of the labels has no film.
    InputError
        If a logit is not finite or the slope is not above 0.
    """
    ill = targets == 1
    if ill.all() or not ill.any():
        raise DataError("an operating point needs films of both labels")
    if not np.isfinite(logits).all() or not slope > 0:
        raise InputError("an operating point needs finite logits and a slope above 0")
    scaled = slope * logits

    def excess(intercept: float) -> float:
        probabilities = sigmoid(scaled + intercept)
        return float(probabilities[~ill].mean() - (1 - probabilities[ill]).mean())

    intercept = brentq(excess, -float(scaled.max()) - 1, -float(scaled.min()) + 1, xtol=1e-14)
    return CalibratedPoint(Calibration(slope, float(intercept)), EVEN_THRESHOLD)


def cross_fit(judged: LabelledLogits, slope: float, seed: int = SEED) -> CrossFitted:
    """Score each film by an operating point that was fitted without any film of its child.

    Parameters
    ----------
    judged : LabelledLogits
        The films.
    slope : float
        Of the bundle's calibration, above 0.
    seed : int, optional
        Decides which children are left out together.

    Returns
    -------
    CrossFitted

    Raises
    ------
    DataError
        If there are too few children of one label.
    InputError
        If a logit is not finite or the slope is not above 0.
    """
    fold = group_folds(judged.targets, judged.children, seed)
    if any(len(set(judged.targets[fold != number])) < 2 for number in range(FOLDS)):
        raise DataError("there are too few children of one label: an operating point needs at least two of each")
    points = tuple(
        fit_intercept(judged.targets[fold != number], judged.logits[fold != number], slope) for number in range(FOLDS)
    )
    probabilities = np.empty(len(fold))
    for number, point in enumerate(points):
        held = fold == number
        probabilities[held] = point.probabilities(judged.logits[held])
    return CrossFitted(points, fold, probabilities, probabilities >= EVEN_THRESHOLD)


def site_bands(bands: Bands) -> Bands:
    """The bands of a bundle for a site's operating point.

    Calibration lets a probability mean at the site what it meant before, so the edges stay, except that the threshold
    lies between them. What was observed in the bands, and their bound, are of other films, and are left out.

    Parameters
    ----------
    bands : Bands
        Of the bundle.

    Returns
    -------
    Bands
    """
    return replace(
        bands, low=min(bands.low, EVEN_THRESHOLD), high=max(bands.high, EVEN_THRESHOLD), observed={}, bound=None
    )


def at_prevalence(probabilities: ArrayLike, prevalence: float) -> NDArray[np.float64]:
    """Balanced probabilities as they are where pneumonia is as common as stated.

    Bayes' rule for a shift of the prior alone, from one half (Saerens, Latinne and Decaestecker, Neural Comput
    2002;14:21-41): the log odds move by those of the prevalence.

    Parameters
    ----------
    probabilities : array_like
        [0, 1], for a place where half of the films show pneumonia.
    prevalence : float
        Share of films with pneumonia, in (0, 1).

    Returns
    -------
    ndarray of float64
        [0, 1], in the same order.
    """
    ill = np.asarray(probabilities) * prevalence
    return np.asarray(ill / (ill + (1 - np.asarray(probabilities)) * (1 - prevalence)))
