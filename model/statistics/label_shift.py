"""How far a change of a histogram is a change of the share of a class, and what is left once that is taken off.

Where only the share of pneumonia changes, a histogram moves along the difference of the histograms of both classes and in no
other direction. How far it moved is found by generalised least squares. With two bins, the labels of a classifier, that is
black-box shift estimation (Lipton, Wang and Smola, Detecting and Correcting for Label Shift with Black Box Predictors, ICML
2018): the change of the positive rate by sensitivity + specificity - 1. More bins make it more precise.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from model.statistics.stability import shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]

_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class LabelShift:
    """The change of the share of the positive class, -1 to 1, with its interval."""

    change: float
    low: float
    high: float


def label_shift(
    now: Counts,
    reference: Counts,
    classes: tuple[Counts, Counts],
    *,
    level: float = 0.95,
    effects: tuple[float, float] = (1.0, 1.0),
) -> LabelShift | None:
    """Estimate how much the share of the positive class has changed since the reference.

    Parameters
    ----------
    now, reference : ndarray, shape (bins,)
        Films in each bin.
    classes : tuple of ndarray, each of shape (bins,)
        Films of the negative and of the positive class in each bin, counted on labelled films.
    level : float
        Level of the two-sided interval.
    effects : tuple of float
        Design effects of both samples.

    Returns
    -------
    LabelShift or None
        None where the classes do not differ in these bins.
    """
    p, q = shares(now), shares(reference)
    direction = _direction(classes)
    weight = 2 / (p + q)
    information = float((direction**2 * weight).sum())
    if information < _LEAST:
        return None
    change = float(((p - q) * direction * weight).sum()) / information
    per_film = effects[0] / max(float(np.sum(now)), 1.0) + effects[1] / max(float(np.sum(reference)), 1.0)
    reach = NormalDist().inv_cdf((1 + level) / 2) * float(np.sqrt(per_film / information))
    return LabelShift(change, max(change - reach, -1.0), min(change + reach, 1.0))


def shifted(reference: Counts, classes: tuple[Counts, Counts], change: float) -> NDArray[np.float64]:
    """The histogram of a reference, float64 (bins,), after the share of the positive class changed by so much."""
    moved = np.maximum(shares(reference) + change * _direction(classes), _LEAST)
    return np.asarray(moved / moved.sum() * float(np.sum(reference)))


def _direction(classes: tuple[Counts, Counts]) -> NDArray[np.float64]:
    """By how much the shares of the bins differ between the classes, without adding half films to the bins."""
    negative, positive = (np.asarray(one, dtype=np.float64) for one in classes)
    return np.asarray(positive / max(positive.sum(), 1.0) - negative / max(negative.sum(), 1.0))
