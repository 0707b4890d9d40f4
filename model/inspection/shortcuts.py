"""How well each probe alone separates the labels, and how far a network's scores follow it.

An AUC well above one half says that the films of the two labels were taken, processed or cropped in different ways. A
network may then be right for the wrong reason. If it is, its scores follow the probe even among films of one label,
where the label cannot explain it: that is the correlation within each label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from model.labels import Label
from model.statistics.curves import HistogramBin, histogram
from model.statistics.group_folds import group_folds
from model.statistics.intervals import Interval, auc_interval
from model.statistics.logistic import cross_fitted, fit_logistic
from model.statistics.metrics import Ranking
from model.statistics.patient_bootstrap import PatientBootstrap
from model.statistics.sigmoid import sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from model.inspection.survey import Survey

TOGETHER = "all together"
REPLICATES = 500


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How well one probe separates the labels.

    Attributes
    ----------
    name : str
        The probe, or ``TOGETHER``.
    auc : float
        In [0, 1], each film scored by a fit without its child; 0.5 is chance.
    interval : (float, float)
        95 %, by patient.
    correlations : mapping of Label to float or None; None without a network
        Rank correlation in [-1, 1] of its scores, fitted on all films, with a network's, within each label; None where
        one of the two is constant.
    histogram : tuple of HistogramBin
        The same scores, as probabilities of pneumonia where both labels are as common.
    """

    name: str
    auc: float
    interval: Interval
    correlations: Mapping[Label, float | None] | None
    histogram: tuple[HistogramBin, ...]


def find_shortcuts(survey: Survey, seed: int, replicates: int = REPLICATES) -> tuple[Shortcut, ...]:
    """Measure every probe of a survey, and all together.

    Each film is scored by a logistic regression that was fitted without its child, which also decides the direction.

    Parameters
    ----------
    survey : Survey
        What was read of the films.
    seed : int
        Decides which children are left out together.
    replicates : int, optional
        Samples of the bootstrap.

    Returns
    -------
    tuple of Shortcut
        In the order of the probes.

    Raises
    ------
    DataError
        If there are too few children of one label.
    """
    targets = np.array([picture.label.target for picture in survey.pictures], dtype=np.float64)
    patients = np.array([f"{picture.kind}\0{picture.patient}" for picture in survey.pictures])
    columns = {**survey.figures, TOGETHER: np.hstack(list(survey.figures.values()))}
    rankings = {name: Ranking(targets, _answers(figures, targets, patients, seed)) for name, figures in columns.items()}
    bootstrap = PatientBootstrap(patients.tolist(), targets, replicates=replicates, seed=seed)
    intervals = bootstrap.intervals({name: ranking.auc for name, ranking in rankings.items()})
    found = []
    for name, figures in columns.items():
        area, logits = float(rankings[name].auc()), fit_logistic(figures, targets).logits(figures)
        found.append(
            Shortcut(
                name,
                area,
                _interval(area, intervals[name], patients, targets),
                None if survey.logits is None else _correlations(logits, survey.logits, targets),
                histogram(targets, sigmoid(logits)),
            )
        )
    return tuple(found)


def _answers(
    figures: NDArray[np.float64], targets: NDArray[np.float64], patients: NDArray[Any], seed: int
) -> NDArray[np.float64]:
    """Each film's score by a fit without its child; a single figure is the score itself, with the sign of the fit."""
    if figures.shape[1] > 1:
        # Rounded, or what is the same for every film would be ranked by its last bit.
        return cross_fitted(figures, targets, patients, seed).round(9)
    fold, answers = group_folds(targets, patients, seed), np.empty(len(targets))
    for held in (fold == number for number in np.unique(fold)):
        slope = fit_logistic(figures[~held], targets[~held]).coefficients[0]
        answers[held] = np.sign(slope) * figures[held, 0]
    return answers


def _interval(area: float, found: Interval | None, patients: NDArray[Any], targets: NDArray[np.float64]) -> Interval:
    """The bootstrap's interval, or the closed form for as many films as there are children where it has no width."""
    if found is not None and found[1] - found[0] > 1e-9:
        return found
    ill, well = (len(np.unique(patients[targets == target])) for target in (1, 0))
    return auc_interval(area, ill, well)


def _correlations(
    answers: NDArray[np.float64], logits: NDArray[np.float64], targets: NDArray[np.float64]
) -> dict[Label, float | None]:
    return {
        label: rank_correlation(answers[targets == label.target], logits[targets == label.target]) for label in Label
    }


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Spearman's correlation.

    Parameters
    ----------
    first, second : ndarray of float64, shape (n,)
        Two figures of the same films; equal ones share their rank.

    Returns
    -------
    float or None
        In [-1, 1]; None where one of the two is the same everywhere.
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)
