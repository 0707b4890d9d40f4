"""How good a network is on labelled films: figures with 95 % intervals, and the confusion matrix.

Intervals of proportions are Wilson's. That of the AUC is Newcombe's method 5 (Stat Med 2006;25:559-573),
the score form of Hanley and McNeil's, which stays inside [0, 1] and does not shrink to nothing at 1.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.dataset import Picture, read_picture, scan_folder
from model.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.engine import Classifier

Interval = tuple[float, float]
Z95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""

ECE_BINS = 10


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network is worth on a set of films. All figures and intervals are in [0, 1].

    ``confusion`` is ((true negatives, false positives), (false negatives, true positives)), positive
    being PNEUMONIA; ``ece`` is the expected calibration error over ten equal bins of probability.
    """

    n: int
    accuracy: float
    accuracy_ci: Interval
    auc: float
    auc_ci: Interval
    sensitivity: float
    sensitivity_ci: Interval
    specificity: float
    specificity_ci: Interval
    threshold: float
    ece: float
    confusion: tuple[tuple[int, int], tuple[int, int]]
    model: str
    version: str

    def as_dict(self) -> dict[str, Any]:
        """Give the figures in a form that JSON can hold."""
        fields = asdict(self)
        for key in ("accuracy_ci", "auc_ci", "sensitivity_ci", "specificity_ci"):
            fields[key] = list(fields[key])
        fields["confusion"] = [list(row) for row in self.confusion]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Evaluation:
        """Take the figures back from that form.

        Raises
        ------
        DataError
            If a figure is missing or has another form.
        """
        try:
            (tn, fp), (fn, tp) = fields["confusion"]
            return cls(
                n=int(fields["n"]),
                accuracy=float(fields["accuracy"]),
                accuracy_ci=_interval(fields["accuracy_ci"]),
                auc=float(fields["auc"]),
                auc_ci=_interval(fields["auc_ci"]),
                sensitivity=float(fields["sensitivity"]),
                sensitivity_ci=_interval(fields["sensitivity_ci"]),
                specificity=float(fields["specificity"]),
                specificity_ci=_interval(fields["specificity_ci"]),
                threshold=float(fields["threshold"]),
                ece=float(fields["ece"]),
                confusion=((int(tn), int(fp)), (int(fn), int(tp))),
                model=str(fields["model"]),
                version=str(fields["version"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("the figures of an evaluation are incomplete") from error


def _interval(bounds: Sequence[float]) -> Interval:
    low, high = bounds
    return float(low), float(high)


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's 95 % score interval of a proportion.

    Parameters
    ----------
    successes, trials : int
        0 <= successes <= trials; with no trial the interval is (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper bound in [0, 1].
    """
    if trials == 0:
        return 0.0, 1.0
    share, square = successes / trials, Z95 * Z95
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    # At 0 and at 1 one bound is exact; rounding must not leave it a hair outside.
    return (
        0.0 if successes == 0 else max(0.0, middle - half),
        1.0 if successes == trials else min(1.0, middle + half),
    )


def auc(targets: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]) -> float:
    """Area under the receiver operating characteristic (Mann-Whitney; a tie counts half).

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    scores : ndarray, shape (n,)
        Logits or probabilities: only their order matters.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    positive = np.asarray(targets) == 1
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        raise DataError("an AUC needs films of both labels")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def auc_interval(area: float, n_positive: int, n_negative: int) -> Interval:
    """95 % interval of an AUC by Newcombe's method 5.

    Parameters
    ----------
    area : float
        The AUC, in [0, 1].
    n_positive, n_negative : int
        Films of each class, at least 1.

    Returns
    -------
    tuple of float
        Lower and upper bound in [0, 1].
    """
    mean = (n_positive + n_negative) / 2

    def excess(theta: float) -> float:
        spread = 1 + (mean - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = theta * (1 - theta) * spread / (n_positive * n_negative)
        return (area - theta) ** 2 - Z95 * Z95 * variance

    return _bisect(excess, 0.0, area), _bisect(excess, 1.0, area)


def _bisect(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where ``excess`` turns from positive (outside the interval) to negative."""
    if excess(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excess(middle) > 0 else (outside, middle)
    return inside


def expected_calibration_error(targets: NDArray[np.floating[Any]], probabilities: NDArray[np.floating[Any]]) -> float:
    """Mean distance between probability and observed share of pneumonia, over ten equal bins.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray, shape (n,)
        Probabilities of pneumonia in [0, 1].

    Returns
    -------
    float
        In [0, 1]; each bin weighs as many films as it holds.
    """
    bins = np.minimum((np.asarray(probabilities) * ECE_BINS).astype(int), ECE_BINS - 1)
    distances = np.bincount(bins, np.asarray(probabilities) - np.asarray(targets), ECE_BINS)
    return float(np.abs(distances).sum() / len(bins))


def evaluate_probabilities(
    targets: NDArray[np.floating[Any]],
    probabilities: NDArray[np.floating[Any]],
    threshold: float,
    model: str,
    version: str,
) -> Evaluation:
    """All figures of a set of answers.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray, shape (n,)
        Probabilities of pneumonia in [0, 1].
    threshold : float
        At or above it the answer is PNEUMONIA.
    model, version : str
        What answered.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    ill, called = np.asarray(targets) == 1, np.asarray(probabilities) >= threshold
    tp, fn = int((ill & called).sum()), int((ill & ~called).sum())
    fp, tn = int((~ill & called).sum()), int((~ill & ~called).sum())
    area, n = auc(targets, probabilities), len(ill)
    return Evaluation(
        n=n,
        accuracy=(tp + tn) / n,
        accuracy_ci=wilson(tp + tn, n),
        auc=area,
        auc_ci=auc_interval(area, tp + fn, tn + fp),
        sensitivity=tp / (tp + fn),
        sensitivity_ci=wilson(tp, tp + fn),
        specificity=tn / (tn + fp),
        specificity_ci=wilson(tn, tn + fp),
        threshold=threshold,
        ece=expected_calibration_error(targets, probabilities),
        confusion=((tn, fp), (fn, tp)),
        model=model,
        version=version,
    )


def evaluate_logits(
    targets: NDArray[np.floating[Any]],
    logits: NDArray[np.floating[Any]],
    threshold: float,
    model: str,
    version: str,
) -> Evaluation:
    """All figures of a set of logits; see ``evaluate_probabilities``.

    Raises
    ------
    DataError
        If one of the two classes has no film.
    """
    probabilities = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))
    return evaluate_probabilities(targets, probabilities, threshold, model, version)


def evaluate_folder(
    classifier: Classifier,
    folder: Path,
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a classifier on a folder of labelled films, by the way a film takes in serving.

    Parameters
    ----------
    classifier : Classifier
        A bundle and its engine.
    folder : Path
        Holds ``NORMAL/`` and ``PNEUMONIA/`` with JPEG or PNG files.
    reader : callable, optional
        Gives the grey film (uint8, MONOCHROME2) of a path.
    progress : callable, optional
        Called with films done and films in all.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If the folder cannot be used.
    """
    return evaluate_pictures(classifier, scan_folder(folder), reader, progress)


def evaluate_pictures(
    classifier: Classifier,
    pictures: Sequence[Picture],
    reader: Callable[[Path], NDArray[np.uint8]] = read_picture,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a classifier on given films; see ``evaluate_folder``.

    Raises
    ------
    DataError
        If a film cannot be read or one of the labels has none.
    """
    probabilities = []
    for done, picture in enumerate(pictures, start=1):
        probabilities.append(classifier.score(reader(picture.path)).probability)
        if progress is not None:
            progress(done, len(pictures))
    targets = np.array([picture.label.target for picture in pictures], dtype=np.float64)
    bundle = classifier.bundle
    return evaluate_probabilities(targets, np.array(probabilities), bundle.threshold, bundle.name, bundle.version)
