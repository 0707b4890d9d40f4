"""A classifier turns a film into a score: by a bundle's network, calibration, threshold, bands and scope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.errors import EngineError
from model.labels import Label
from model.operating.calibration import UNCALIBRATED
from model.preprocess import to_input
from model.serving.engine import LiteRtEngine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from model.labels import Band
    from model.serving.bundle import Bundle
    from model.serving.engine import Engine


@dataclass(frozen=True, slots=True)
class Score:
    """One film's answer.

    ``probability`` is that of pneumonia, in [0, 1], calibrated where the bundle has a calibration; ``logit`` is as the
    network gives it; ``label`` is that at ``threshold``; ``band`` is that of the probability, None where the bundle has
    no bands. ``unlikeness`` says how unlike the training films the film is: 0 or more, above 1 out of the network's
    scope, None where the bundle has no scope.
    """

    probability: float
    logit: float
    threshold: float
    label: Label
    band: Band | None = None
    unlikeness: float | None = None


class Classifier:
    """Scores films with one bundle by one engine."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self._engine = engine

    def score(self, film: NDArray[np.uint8]) -> Score:
        """Score one film.

        Parameters
        ----------
        film : ndarray of uint8, shape (rows, columns)
            Grey film, MONOCHROME2.

        Returns
        -------
        Score

        Raises
        ------
        InputError
            If the film is not a two-dimensional, non-empty uint8 array.
        EngineError
            If the network's answer is not a finite number.
        """
        return self.score_many([film])[0]

    def score_many(self, films: Iterable[NDArray[np.uint8]]) -> list[Score]:
        """Score films in their order; the same contract as ``score``.

        Raises
        ------
        InputError
            If a film is not a two-dimensional, non-empty uint8 array.
        EngineError
            If the network's answer is not a finite number.
        """
        scope = self.bundle.scope
        inputs, unlikeness = [], []
        for film in films:
            inputs.append(to_input(film, self.bundle.input_size))
            # before the network, whose weights push everything else out of the processor's cache
            unlikeness.append(scope.unlikeness(film) if scope else None)
        if not inputs:
            return []
        logits = self._engine.logits(np.stack(inputs))
        return [self._scored(float(logit), unlike) for logit, unlike in zip(logits, unlikeness, strict=True)]

    def members(self, film: NDArray[np.uint8]) -> tuple[float, ...] | None:
        """The logit of each member of the network for one film; their mean is the logit of ``score``.

        Parameters
        ----------
        film : ndarray of uint8, shape (rows, columns)
            Grey film, MONOCHROME2.

        Returns
        -------
        tuple of float or None
            None for a network that was exported without the terms of its answer, and for the Keras engine.

        Raises
        ------
        InputError
            If the film is not a two-dimensional, non-empty uint8 array.
        """
        if not isinstance(self._engine, LiteRtEngine) or not self._engine.has_terms:
            return None
        (terms,) = self._engine.terms(to_input(film, self.bundle.input_size)[np.newaxis])
        return terms.members

    def _scored(self, logit: float, unlikeness: float | None) -> Score:
        if not math.isfinite(logit):
            raise EngineError(
                f"the network of {self.bundle.label} gave an answer that is not a number: export the bundle again"
            )
        bundle = self.bundle
        probability = float((bundle.calibration or UNCALIBRATED).probabilities(np.array(logit)))
        return Score(
            probability=probability,
            logit=logit,
            threshold=bundle.threshold,
            label=Label.of(probability, bundle.threshold),
            band=bundle.bands.band(probability) if bundle.bands else None,
            unlikeness=unlikeness,
        )
