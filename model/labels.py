"""Labels (PNEUMONIA is the positive class), bands of the probability, and methods of explanation."""

from __future__ import annotations

from enum import StrEnum


class Label(StrEnum):
    """The label of a film. The values are in SQL, where worklists read them."""

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


class Method(StrEnum):
    """How the evidence of a film is found (``explain``). The values are used on the command line and in bundles."""

    HIRESCAM = "hirescam"
    GRAD_CAM = "grad-cam"
    OCCLUSION = "occlusion"
