"""The pictures behind the figures, as numbers: ROC, precision and recall, reliability, where the scores lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.intervals import Interval, wilson
from model.metrics import CALIBRATION_BINS, Ranking, bins_of

if TYPE_CHECKING:
    from model.metrics import Numbers

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
        From (0, 0) to (1, 1); points on a straight line between their neighbours are left out.

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    ill, well = (np.r_[0.0, counts[::-1].cumsum()] for counts in Ranking(targets, scores).counts())
    # A point is a corner unless the steps before and after it go the same way.
    turn = np.diff(well)[:-1] * np.diff(ill)[1:] != np.diff(well)[1:] * np.diff(ill)[:-1]
    corner = np.r_[True, turn, True]
    return Curve(tuple((well / well[-1])[corner].tolist()), tuple((ill / ill[-1])[corner].tolist()))


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
        Points in between mean nothing: draw it in steps, not in slopes.

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    ill, well = (counts[::-1].cumsum() for counts in Ranking(targets, scores).counts())
    return Curve(tuple((ill / ill[-1]).tolist()), tuple((ill / (ill + well)).tolist()))


def reliability(targets: Numbers, probabilities: Numbers) -> tuple[ReliabilityBin, ...]:
    """Whether of films called 80 % about 80 % are ill: the bins behind the calibration error.

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
    """How many films of each label have which probability.

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
