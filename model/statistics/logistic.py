"""Logistic regression with balanced classes and an L2 penalty (scikit-learn's), and its cross-fitted logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import DataError, InputError
from model.statistics.group_folds import FOLDS, group_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTY = 1.0
"""Weight of half the squared coefficients (of standardised features) against the summed loss of the films."""

_TOLERANCE = 1e-10
"""Largest gradient at the solution: calibrations of shipped bundles come out again to 12 digits, at 1e-4 to three."""


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """A fitted regression: ``mean`` and ``deviation`` standardise the features, float64 (f,) as the coefficients."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercept: float

    def logits(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Logits of class 1, float64 (n,), of features (n, f)."""
        standardised = (np.asarray(features, dtype=np.float64) - self.mean) / self.deviation
        return np.asarray(standardised @ self.coefficients + self.intercept)


def fit_logistic(
    features: NDArray[np.floating[Any]], targets: NDArray[np.floating[Any]], penalty: float = PENALTY
) -> Logistic:
    """Fit a logistic regression in which both classes weigh the same, however many films each has.

    Parameters
    ----------
    features : ndarray, shape (n, f)
        Finite numbers; they are standardised here, and the penalty is on what is standardised.
    targets : ndarray, shape (n,)
        1 or 0.
    penalty : float, optional
        Weight of half the squared coefficients; above 0. The intercept has none.

    Returns
    -------
    Logistic

    Raises
    ------
    InputError
        If the shapes do not fit or a feature is not finite.
    DataError
        If one of the two classes has no film.
    """
    # Takes most of a second to load, and belongs to the extra `evaluate`: serving imports this module without it.
    from sklearn.linear_model import LogisticRegression

    x, y = _checked(features, targets)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    # A feature that is the same everywhere says nothing; rounding must not blow it up.
    deviation = np.where(deviation > 1e-12 * np.maximum(1.0, np.abs(mean)), deviation, np.inf)
    if np.isinf(deviation).all():
        # The solution is 0; Newton's method would search for it among rounding errors, and warn.
        return Logistic(mean, deviation, np.zeros(x.shape[1]), 0.0)
    model = LogisticRegression(C=1 / penalty, class_weight="balanced", solver="newton-cholesky", tol=_TOLERANCE)
    model.fit((x - mean) / deviation, y)
    return Logistic(mean, deviation, model.coef_[0], float(model.intercept_[0]))


def cross_fitted(
    features: NDArray[np.floating[Any]], targets: NDArray[np.floating[Any]], groups: NDArray[Any], seed: int
) -> NDArray[np.float64]:
    """Logits of class 1, each film's by a regression that was fitted without any film of its group.

    Parameters
    ----------
    features : ndarray, shape (n, f)
        Finite numbers.
    targets : ndarray, shape (n,)
        1 or 0.
    groups : ndarray, shape (n,)
        What must stay together, such as a child; anything that can be sorted.
    seed : int
        Decides which groups are left out together.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    InputError
        If the shapes do not fit or a feature is not finite.
    DataError
        If there are too few groups of one class.
    """
    x, y = _checked(features, targets)
    fold = group_folds(y, groups, seed)
    logits = np.empty(len(y))
    for number in range(FOLDS):
        held = fold == number
        if held.any():
            logits[held] = fit_logistic(x[~held], y[~held]).logits(x[held])
    return logits


def _checked(
    features: NDArray[np.floating[Any]], targets: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or not np.isfinite(x).all():
        raise InputError("features must be finite numbers of shape (films, features), with one target for each film")
    if set(np.unique(y)) != {0.0, 1.0}:
        raise DataError("a regression needs films of both labels")
    return x, y
