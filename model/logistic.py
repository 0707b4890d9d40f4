"""Logistic regression with balanced classes and an L2 penalty, by Newton's method, and its cross-fitted answers.

Small tables of figures per film are judged with it: how well they alone tell the classes apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import DataError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTY = 1.0
"""Weight of half the squared coefficients (of standardised features) against the summed loss of the films."""

FOLDS = 5
_STEPS = 100
_TOLERANCE = 1e-8


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

    Newton's method, which is iteratively reweighted least squares here, with its step halved while the loss rises.

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
    x, y = _checked(features, targets)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    # A feature that is the same everywhere says nothing; rounding must not blow it up.
    deviation = np.where(deviation > 1e-12 * np.maximum(1.0, np.abs(mean)), deviation, np.inf)
    design = np.column_stack([(x - mean) / deviation, np.ones(len(x))])
    weights = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    penalties = np.append(np.full(x.shape[1], penalty), 0.0)

    def loss(solution: NDArray[np.float64]) -> float:
        z = design @ solution
        return float(weights @ (np.logaddexp(0.0, z) - y * z) + penalties @ np.square(solution) / 2)

    solution = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = sigmoid(design @ solution)
        gradient = design.T @ (weights * (p - y)) + penalties * solution
        curvature = (design * (weights * p * (1 - p))[:, np.newaxis]).T @ design + np.diag(penalties)
        step = np.linalg.solve(curvature, gradient)
        while loss(solution - step) > loss(solution) and np.abs(step).max() > _TOLERANCE:
            step /= 2
        solution = solution - step
        if np.abs(step).max() <= _TOLERANCE:
            break
    return Logistic(mean, deviation, solution[:-1], float(solution[-1]))


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


def group_folds(targets: NDArray[np.floating[Any]], groups: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """Deal groups out to ``FOLDS`` folds, those with films of class 1 and the others each evenly.

    Parameters
    ----------
    targets : ndarray, shape (n,)
        1 or 0.
    groups : ndarray, shape (n,)
        What must stay together.
    seed : int
        The same seed, targets and groups give the same folds.

    Returns
    -------
    ndarray of int64, shape (n,)
        [0, FOLDS).

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if np.shape(targets) != np.shape(groups):
        raise InputError("there must be one group for each film")
    names, place = np.unique(groups, return_inverse=True)
    ill = np.bincount(place, targets) > 0
    order = np.random.default_rng(seed).permutation(len(names))
    fold = np.empty(len(names), dtype=np.int64)
    fold[order[np.argsort(ill[order], kind="stable")]] = np.arange(len(names)) % FOLDS
    return fold[place]


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits, in [0, 1], without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def _checked(
    features: NDArray[np.floating[Any]], targets: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or not np.isfinite(x).all():
        raise InputError("features must be finite numbers of shape (films, features), with one target for each film")
    if set(np.unique(y)) != {0.0, 1.0}:
        raise DataError("a regression needs films of both labels")
    return x, y
