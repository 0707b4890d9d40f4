"""The two answers of the network, of which PNEUMONIA is the positive class, and the bands of its probability."""

from __future__ import annotations

from enum import StrEnum


class Label(StrEnum):
    """What a film is called. The values are written to SQL and read by worklists."""

    NORMAL = "NORMAL"
    PNEUMONIA = "PNEUMONIA"

    @property
    def target(self) -> int:
        """The number the network learns for this label: 1 for PNEUMONIA, 0 for NORMAL."""
        return int(self is Label.PNEUMONIA)

    @classmethod
    def of(cls, probability: float, threshold: float) -> Label:
        """The label of a film whose probability of pneumonia is ``probability``.

        Parameters
        ----------
        probability : float
            Probability of pneumonia in [0, 1].
        threshold : float
            Operating point in (0, 1); a film at the threshold is PNEUMONIA.

        Returns
        -------
        Label
        """
        return cls.PNEUMONIA if probability >= threshold else cls.NORMAL


class Band(StrEnum):
    """How far a probability lies from the threshold's grey zone. The values are written to SQL."""

    LOW = "LOW"
    INTERMEDIATE = "INTERMEDIATE"
    HIGH = "HIGH"
