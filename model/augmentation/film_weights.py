"""Weights of training films, so that neither a label nor its usual style dominates.

Where style and label are correlated, films whose style is unlike their label's are rare. Weighting each film by one
over the probability of its label given its style makes a set in which style says nothing about the label (inverse
propensity weighting, Rosenbaum and Rubin 1983; the weights are bounded, which trades some of the balance for less
variance).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.style import style_propensity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Picture


def style_weights(
    pictures: Sequence[Picture],
    targets: NDArray[np.floating[Any]],
    style: NDArray[np.float64],
    bound: float,
    seed: int,
) -> NDArray[np.float64]:
    """Weight of each film, under which style and label are nearly independent.

    Parameters
    ----------
    pictures : sequence of Picture
        The films; the style of a child's films is judged by a regression without that child.
    targets : ndarray, shape (n,)
        1 for pneumonia, 0 for normal.
    style : ndarray of float64, shape (n, f)
        ``style.style_features`` of the films.
    bound : float
        Largest weight of a film, before each label's weights are scaled to a mean of 1; at least 1.
    seed : int
        Decides which children are left out together.

    Returns
    -------
    ndarray of float64, shape (n,)
        Above 0, with a mean of 1 over the films of each label.
    """
    children = np.array([f"{picture.kind} {picture.patient}" for picture in pictures])
    pneumonia = style_propensity(style, targets, children, seed)
    own = np.where(targets == 1, pneumonia, 1 - pneumonia)
    weights = np.minimum(1 / np.maximum(own, 1 / bound), bound)
    for target in (0, 1):
        weights[targets == target] /= weights[targets == target].mean()
    return np.asarray(weights)


def balanced(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weight of each film, float64 (n,), under which both labels count the same; the mean is 1."""
    positive = float(targets.mean())
    return np.where(targets == 1, 0.5 / positive, 0.5 / (1 - positive))


def weighted_auc(
    targets: NDArray[np.floating[Any]], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Area under the ROC curve where each film counts by its weight; ties count half. All of shape (n,)."""
    order = np.argsort(scores, kind="stable")
    ill, weight, score = np.asarray(targets)[order] == 1, weights[order], scores[order]
    normal = np.where(ill, 0.0, weight)
    below = np.concatenate([[0.0], np.cumsum(normal)])
    first, last = np.searchsorted(score, score, "left"), np.searchsorted(score, score, "right")
    under = (below[first] + below[last]) / 2
    positive = np.where(ill, weight, 0.0)
    return float(positive @ under / (positive.sum() * normal.sum()))
