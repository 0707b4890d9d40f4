"""Folds for cross-fitting that keep the films of one child together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5


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
