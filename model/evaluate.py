"""How good a network is on labelled films."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def auc(targets: NDArray[np.float32], scores: NDArray[np.float64]) -> float:
    """Area under the receiver operating characteristic (Mann-Whitney, ties count half)."""
    order, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    del order
    midranks = np.cumsum(counts) - (counts - 1) / 2
    ranks = midranks[inverse]
    positive = targets == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
