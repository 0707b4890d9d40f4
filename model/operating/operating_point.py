"""The operating point and all figures that follow from it, computed from held-out logits alone.

Rule ``even``: Platt scaling in which both labels weigh alike is fitted on the held-out films of the fit rows of
``perturb`` pooled, and a film is PNEUMONIA from probability .5 on: neither error is favoured, and no single way of
changing films decides. The check rows are not fitted on; they show whether the point holds. Rule ``sensitivity``: Platt scaling on the
unchanged films, and the highest threshold that reaches a sensitivity there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.augmentation.perturb import Role
from model.errors import ExportError
from model.operating.calibration import UNCALIBRATED, Calibration, fit_bands, fit_calibration, threshold_of
from model.operating.stress_table import Stressed, stress_table
from model.statistics.evaluation import evaluate_probabilities
from model.statistics.logistic import fit_logistic
from model.statistics.metrics import expected_calibration_error
from model.statistics.sigmoid import sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.config import TrainingConfig

EVEN_THRESHOLD = 0.5
PREVALENCES = (0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class FittedPoint:
    """How a logit becomes a probability, and the threshold of PNEUMONIA; without a calibration the sigmoid is used."""

    calibration: Calibration | None
    threshold: float

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of pneumonia, [0, 1], of logits; any shape."""
        return (self.calibration or UNCALIBRATED).probabilities(logits)


def fit_point(config: TrainingConfig, stressed: Stressed) -> FittedPoint:
    """Find the operating point by the rule that a configuration names.

    Parameters
    ----------
    config : TrainingConfig
        Names a threshold, a sensitivity or the rule ``even``.
    stressed : Stressed
        Logits of held-out films under every perturbation.

    Returns
    -------
    FittedPoint

    Raises
    ------
    ExportError
        If the configuration names neither a threshold nor a rule.
    DataError
        If one label has no film, or larger logits do not mean more pneumonia.
    """
    wanted = config.operating_point
    if wanted is None:
        if config.threshold is None:
            raise ExportError(f"the configuration {config.name}-{config.version} names no threshold")
        return FittedPoint(None, config.threshold)
    if wanted.sensitivity is None:  # the rule ``even``
        return FittedPoint(fit_calibration(*stressed.pooled(Role.FIT)), EVEN_THRESHOLD)
    calibration = fit_calibration(stressed.targets, stressed.logits[0])
    probabilities = calibration.probabilities(stressed.logits[0])
    return FittedPoint(calibration, threshold_of(stressed.targets, probabilities, wanted.sensitivity))


def facts_at(
    point: FittedPoint,
    targets: NDArray[np.float64],
    logits: NDArray[np.float64],
    stressed: Stressed | None,
    name: str,
    version: str,
) -> dict[str, Any]:
    """The part of a bundle's description that follows from its operating point.

    Parameters
    ----------
    point : FittedPoint
        The operating point.
    targets, logits : ndarray of float64, shape (n,)
        The held-out films as they are.
    stressed : Stressed or None
        The same films under every perturbation, where the bundle has them.
    name, version : str
        Of the bundle.

    Returns
    -------
    dict
        ``threshold``, ``calibration``, ``bands``, ``metrics`` and those of ``facts_beside``.

    Raises
    ------
    DataError
        If one label has no film.
    """
    probabilities = point.probabilities(logits)
    bands = None
    if point.calibration and stressed:
        fitted = point.probabilities(stressed.of(Role.FIT))
        bands = fit_bands(stressed.targets, fitted, point.threshold, stressed.children)
    elif point.calibration:
        bands = fit_bands(targets, probabilities[np.newaxis], point.threshold)
    facts = {
        "threshold": point.threshold,
        "calibration": point.calibration.as_dict() if point.calibration else None,
        "bands": bands.as_dict() if bands else None,
        "metrics": evaluate_probabilities(targets, probabilities, point.threshold, name, version).as_dict(),
        **facts_beside(point, targets, logits, stressed),
    }
    if stressed:
        facts["stress"] = stress_table(stressed, point.calibration or UNCALIBRATED, point.threshold, bands)
    return facts


def facts_beside(
    point: FittedPoint, targets: NDArray[np.float64], logits: NDArray[np.float64], stressed: Stressed | None
) -> dict[str, Any]:
    """Facts that explain an operating point and decide nothing: ``calibration_check`` and ``predictive_values``.

    Parameters
    ----------
    point, targets, logits, stressed
        As for ``facts_at``.

    Returns
    -------
    dict
        In a form that JSON can hold. ``calibration_check`` has for each set of films the slope and intercept of a
        regression of the label on the logit of the probability, both labels weighing alike (1 and 0 where the
        probabilities are right; Cox 1958), and the expected calibration error, of the probabilities as they are and
        restated for the share of pneumonia among the films. ``predictive_values`` has for each prevalence those that
        follow from sensitivity and specificity (Bayes); None where no film has that label.
    """
    sets = {"unchanged": (targets, logits)}
    if stressed:
        sets["fit rows"], sets["check rows"] = stressed.pooled(Role.FIT), stressed.pooled(Role.CHECK)
    sets = {title: films for title, films in sets.items() if len(films[0])}
    last = list(sets)[-1]
    return {
        "calibration_check": [{"films": title, **_calibration(point, *films)} for title, films in sets.items()],
        "predictive_values": [
            {"films": title, "prevalence": prevalence, **_predictive(point, *sets[title], prevalence)}
            for title in dict.fromkeys(("unchanged", last))
            for prevalence in PREVALENCES
        ],
    }


def restated(logits: NDArray[np.float64], prevalence: float) -> NDArray[np.float64]:
    """Probabilities, [0, 1], for a place of that prevalence, of logits for one where half the films show pneumonia."""
    return sigmoid(logits + np.log(prevalence / (1 - prevalence)))


def _calibration(point: FittedPoint, targets: NDArray[np.float64], logits: NDArray[np.float64]) -> dict[str, float]:
    calibration = point.calibration or UNCALIBRATED
    z = calibration.slope * logits + calibration.intercept
    fitted = fit_logistic(z[:, np.newaxis], targets)
    slope = float(fitted.coefficients[0] / fitted.deviation[0])
    return {
        "slope": slope,
        "intercept": fitted.intercept - slope * float(fitted.mean[0]),
        "ece": expected_calibration_error(targets, sigmoid(z)),
        "ece_restated": expected_calibration_error(targets, restated(z, float(targets.mean()))),
    }


def _predictive(
    point: FittedPoint, targets: NDArray[np.float64], logits: NDArray[np.float64], prevalence: float
) -> dict[str, float | None]:
    called = point.probabilities(logits) >= point.threshold
    found, alarms = float(called[targets == 1].mean()), float(called[targets == 0].mean())
    right_ill, wrong_ill = found * prevalence, alarms * (1 - prevalence)
    right_normal, wrong_normal = (1 - alarms) * (1 - prevalence), (1 - found) * prevalence
    return {
        "ppv": right_ill / (right_ill + wrong_ill) if called.any() else None,
        "npv": right_normal / (right_normal + wrong_normal) if not called.all() else None,
    }
