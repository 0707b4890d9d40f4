"""Contour lines of evidence: the film stays visible below them, also where the evidence is strongest.

The levels are the same for every film of a model, so pictures can be compared and a film without evidence has no lines.
Each level stands for a sentence that needs no statistics: by how much the odds fall when a place is covered, or the score
of a film that looked everywhere as it does there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.labels import Method

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.explanation.explain import Explanation

#: From the weakest level to the strongest: lighter, thicker and warmer, so that they differ without colour vision too.
COLOURS = ((255, 226, 122), (255, 160, 40), (255, 84, 48))
WIDTHS_PX = (2.0, 3.0, 4.5)
#: A dark seam on both sides keeps a line visible on a white lung.
SEAM_PX = 1.5
#: How much of a level's colour lies on the places within it, which tells inside from outside; anatomy stays visible.
TINTS = (0.08, 0.13, 0.18)
SEAM = (12, 12, 14)


@dataclass(frozen=True, slots=True)
class Level:
    """A contour line: `value` in the unit of the map, and what is said of the places within it."""

    value: float
    words: str


def levels_of(explanation: Explanation) -> tuple[Level, ...]:
    """The levels of a map, from the weakest to the strongest; all in calibrated logits.

    Parameters
    ----------
    explanation : Explanation
        Calibrated.
    """
    if explanation.method is Method.OCCLUSION:
        # A fall of the logit by ln(1 / share) leaves that share of the odds.
        return tuple(
            Level(math.log(1 / left), words)
            for left, words in ((3 / 4, "by a quarter"), (1 / 2, "by half"), (1 / 4, "by three quarters"))
        )
    return tuple(
        Level(math.log(score / (1 - score)) - explanation.bias, f"over {score:.2f}") for score in (0.5, 0.9, 0.99)
    )


def sentence_of(explanation: Explanation) -> str:
    """What the words of the levels complete."""
    if explanation.method is Method.OCCLUSION:
        return "Covering the place lowers the odds of pneumonia"
    return "A film that looked like the place everywhere scores"


def nothing_of(explanation: Explanation) -> str:
    """What is said of a film without any line."""
    if explanation.method is Method.OCCLUSION:
        return "No line: no single place carries this answer. Covering any one lowers the odds by less than a quarter."
    return "No line: nowhere does this film look like one with pneumonia to the model."


def drawn(grey: NDArray[np.uint8], evidence: NDArray[np.float32], levels: tuple[Level, ...]) -> NDArray[np.uint8]:
    """Draw the contour lines of a map on a film.

    Parameters
    ----------
    grey : ndarray of uint8, shape (rows, columns)
        The film, MONOCHROME2.
    evidence : ndarray of float32, the same shape
        The map.
    levels : tuple of Level
        At most three.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        sRGB; where the map stays below the weakest level, it is the film.
    """
    picture = np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.float32)
    steep = np.hypot(*np.gradient(evidence))
    for level, colour, tint in zip(levels, COLOURS, TINTS, strict=False):
        within = (evidence >= level.value)[..., np.newaxis]
        tinted = np.repeat(grey[..., np.newaxis], 3, axis=2) * (1 - tint) + np.asarray(colour, np.float32) * tint
        picture = np.where(within, tinted, picture)
    for level, colour, width in zip(levels, COLOURS, WIDTHS_PX, strict=False):
        distance = _distance(evidence, steep, level.value)
        for reach, paint in ((width / 2 + SEAM_PX, SEAM), (width / 2, colour)):
            share = np.clip(reach + 0.5 - distance, 0, 1)[..., np.newaxis]
            picture = picture * (1 - share) + np.asarray(paint, np.float32) * share
    return np.asarray(np.rint(picture), dtype=np.uint8)


def has_lines(evidence: NDArray[np.float32], levels: tuple[Level, ...]) -> bool:
    """Whether any place reaches the weakest level."""
    return bool(evidence.max() >= levels[0].value)


def _distance(evidence: NDArray[np.float32], steep: NDArray[np.floating], value: float) -> NDArray[np.float32]:
    """How far each pixel lies from a contour line, in pixels, to first order; infinite where the map is flat."""
    off = np.abs(evidence - value)
    return np.asarray(np.divide(off, steep, out=np.full(off.shape, np.inf, off.dtype), where=steep > 1e-6), np.float32)
