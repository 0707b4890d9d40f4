"""The logistic function, in numpy alone: serving needs it for every film."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits, in [0, 1], without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))
