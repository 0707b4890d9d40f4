"""Curves and histograms of scored films: ROC, precision and recall (scikit-learn's), reliability, scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from model.errors import DataError
from model.statistics.intervals import Interval, wilson
from model.statistics.metrics import CALIBRATION_BINS, bins_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.statistics.metrics import Numbers

HISTOGRAM_BINS = 20


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, both in [0, 1], from the highest threshold to the lowest."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Films whose probability is in [low, high): how many, their mean probability, how many of them are ill.

    ``interval`` is Wilson's of the observed share, ``observed``.
    """

    low: float
    high: float
    n: int
    probability: float
    observed: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class HistogramBin:
    """How many normal and pneumonia films have a probability in [low, high); 1 belongs to the last bin."""

    low: float
    high: float
    normal: int
    pneumonia: int


def roc(targets: Numbers, scores: Numbers) -> Curve:
    """Receiver operating characteristic: share of false alarms against sensitivity.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    scores : ndarray, shape (n,)
        Logits or probabilities: only their order matters.

    Returns
    -------
    Curve
        From (0, 0) to (1, 1), without the points between two equal steps.

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    false_alarms, sensitivity, _ = roc_curve(_both_labels(targets), scores)
    return Curve(tuple(false_alarms.tolist()), tuple(sensitivity.tolist()))


def precision_recall(targets: Numbers, scores: Numbers) -> Curve:
    """Recall (sensitivity) against precision, one point at each different score.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    scores : ndarray, shape (n,)
        Logits or probabilities: only their order matters.

    Returns
    -------
    Curve
        Draw it in steps: interpolation between its points has no meaning.

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    precision, recall, _ = precision_recall_curve(_both_labels(targets), scores)
    # From the highest threshold down, without the point (0, 1) that scikit-learn adds.
    return Curve(tuple(recall[-2::-1].tolist()), tuple(precision[-2::-1].tolist()))


def _both_labels(targets: Numbers) -> NDArray[np.bool_]:
    ill = np.asarray(targets) == 1
    if ill.all() or not ill.any():
        raise DataError("a curve needs films of both labels")
    return np.asarray(ill)


def reliability(targets: Numbers, probabilities: Numbers) -> tuple[ReliabilityBin, ...]:
    """Compare probabilities with observed shares of pneumonia, in the bins of the calibration error.

    scikit-learn's ``calibration_curve`` gives the same shares, but no number of films (an interval needs it), and puts a
    probability at the edge of two bins into the lower one; the calibration error of shipped bundles has it in the upper.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray, shape (n,)
        Probabilities of pneumonia in [0, 1].

    Returns
    -------
    tuple of ReliabilityBin
        Those of ten equal bins that hold a film, from the lowest up.
    """
    place = bins_of(probabilities, CALIBRATION_BINS)
    found = []
    for number in np.unique(place):
        inside = place == number
        n, ill = int(inside.sum()), int((np.asarray(targets)[inside] == 1).sum())
        found.append(
            ReliabilityBin(
                low=int(number) / CALIBRATION_BINS,
                high=(int(number) + 1) / CALIBRATION_BINS,
                n=n,
                probability=float(np.asarray(probabilities)[inside].mean()),
                observed=ill / n,
                interval=wilson(ill, n),
            )
        )
    return tuple(found)


def histogram(targets: Numbers, probabilities: Numbers) -> tuple[HistogramBin, ...]:
    """Count the films of each label by probability.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray, shape (n,)
        Probabilities of pneumonia in [0, 1].

    Returns
    -------
    tuple of HistogramBin
        Twenty equal bins, from the lowest up.
    """
    place, ill = bins_of(probabilities, HISTOGRAM_BINS), np.asarray(targets) == 1
    normal = np.bincount(place[~ill], minlength=HISTOGRAM_BINS)
    pneumonia = np.bincount(place[ill], minlength=HISTOGRAM_BINS)
    return tuple(
        HistogramBin(
            number / HISTOGRAM_BINS, (number + 1) / HISTOGRAM_BINS, int(normal[number]), int(pneumonia[number])
        )
        for number in range(HISTOGRAM_BINS)
    )
