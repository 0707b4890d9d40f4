"""The learning-rate rule of Keras' ``ReduceLROnPlateau``, with a state that a checkpoint can hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.config import PlateauRule

MIN_DELTA = 1e-4
"""Keras' default: an accuracy that is better by less does not count as better."""


@dataclass(frozen=True, slots=True)
class Plateau:
    """Where the rule stands after an epoch: the rate to go on with, the best accuracy, the wait."""

    learning_rate: float
    best: float = float("-inf")
    wait: int = 0

    def after(self, accuracy: float, rule: PlateauRule) -> Plateau:
        """Where the rule stands after one more epoch.

        Parameters
        ----------
        accuracy : float
            Validation accuracy of the epoch, in [0, 1].
        rule : PlateauRule
            Patience in epochs, factor and floor of the learning rate.

        Returns
        -------
        Plateau
        """
        if accuracy > self.best + MIN_DELTA:
            return replace(self, best=accuracy, wait=0)
        if self.wait + 1 < rule.patience:
            return replace(self, wait=self.wait + 1)
        lower = max(self.learning_rate * rule.factor, rule.min_learning_rate)
        return replace(self, learning_rate=min(lower, self.learning_rate), wait=0)
