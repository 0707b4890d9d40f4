"""The figures that a bundle keeps of a set of scored films, and how they are computed from probabilities."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import DataError
from model.statistics.intervals import Interval, auc_interval, wilson
from model.statistics.metrics import auc, expected_calibration_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of a network on a set of films. All figures and intervals are in [0, 1].

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


def evaluate_probabilities(
    targets: NDArray[np.floating[Any]],
    probabilities: NDArray[np.floating[Any]],
    threshold: float,
    model: str,
    version: str,
) -> Evaluation:
    """Compute all figures of a set of scores.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    probabilities : ndarray, shape (n,)
        Probabilities of pneumonia in [0, 1].
    threshold : float
        A film at or above it is called PNEUMONIA.
    model, version : str
        The bundle.

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
