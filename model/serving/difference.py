"""How far the answers of the two engines lie apart, and how far they may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LOGIT_DIFFERENCE = 1e-4
"""By how much two engines' logits may differ where the sigmoid is not flat; beyond, float32 itself is coarser."""

FLAT_FROM = 10.0
"""A logit of this size is a probability within 5e-5 of 0 or 1."""

MAX_PROBABILITY_DIFFERENCE = 1e-5
"""By how much two engines' probabilities may differ, everywhere."""


@dataclass(frozen=True, slots=True)
class EngineDifference:
    """The largest differences between LiteRT and Keras over some films.

    ``logit`` is over films whose logit is within ``FLAT_FROM``, ``probability`` over all of them.
    """

    logit: float
    probability: float

    @property
    def is_small(self) -> bool:
        """Whether both are within their limits, so that either engine may serve."""
        return self.logit <= MAX_LOGIT_DIFFERENCE and self.probability <= MAX_PROBABILITY_DIFFERENCE


def engine_difference(litert: NDArray[np.float64], keras: NDArray[np.float64]) -> EngineDifference:
    """Compare the logits of two engines on the same films.

    Parameters
    ----------
    litert, keras : ndarray of float64, shape (n,)
        Logits of pneumonia, film by film.

    Returns
    -------
    EngineDifference
    """
    steep = np.abs(litert) <= FLAT_FROM
    return EngineDifference(
        logit=float(np.abs(litert - keras)[steep].max(initial=0.0)),
        probability=float(np.abs(np.tanh(litert / 2) - np.tanh(keras / 2)).max() / 2),
    )
