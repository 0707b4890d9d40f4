"""Whether the installed engines open a bundle's network and give the same answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from model.serving.classifier import Classifier
from model.serving.difference import engine_difference
from model.serving.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from model.serving.bundle import Bundle
    from model.serving.engine import EngineKind

#: The package that each engine needs.
_NEEDS: dict[EngineKind, str] = {"litert": "ai_edge_litert", "keras": "tensorflow"}


@dataclass(frozen=True, slots=True)
class EngineScore:
    """One engine's score of one film: ``logit`` as the network gives it, ``probability`` calibrated, in [0, 1]."""

    film: str
    engine: EngineKind
    logit: float
    probability: float
    unlikeness: float | None


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification.

    ``logit_difference`` and ``probability_difference`` are the largest between the engines over all films, None where
    only one engine is installed.
    """

    bundle: str
    weights_sha256: str
    digest: str
    engines: tuple[EngineKind, ...]
    equal: bool
    logit_difference: float | None
    probability_difference: float | None
    scores: tuple[EngineScore, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the fields in a form that JSON can hold."""
        return asdict(self)


def verify_bundle(bundle: Bundle, films: Mapping[str, NDArray[np.uint8]]) -> Verification:
    """Open a bundle with every engine that is installed and score some films.

    Parameters
    ----------
    bundle : Bundle
        A loaded bundle: loading it has checked every digest.
    films : mapping of str to ndarray of uint8, shape (rows, columns)
        Grey films, MONOCHROME2, by a name to show.

    Returns
    -------
    Verification
        ``equal`` is true where the engines differ by no more than ``difference`` allows, or only one is installed.

    Raises
    ------
    EngineError
        If an engine is installed and cannot open the network, or an answer is not a finite number.
    """
    engines = tuple(kind for kind, package in _NEEDS.items() if find_spec(package))
    scores = tuple(score for kind in engines for score in _scores(bundle, kind, films))
    litert, keras = ([score.logit for score in scores if score.engine == kind] for kind in _NEEDS)
    both = litert and keras
    found = engine_difference(np.array(litert), np.array(keras)) if both else None
    return Verification(
        bundle=bundle.label,
        weights_sha256=bundle.weights_sha256,
        digest=bundle.digest,
        engines=engines,
        equal=found is None or found.is_small,
        logit_difference=found.logit if found else None,
        probability_difference=found.probability if found else None,
        scores=scores,
    )


def _scores(bundle: Bundle, kind: EngineKind, films: Mapping[str, NDArray[np.uint8]]) -> list[EngineScore]:
    answers = Classifier(bundle, open_engine(bundle, kind)).score_many(films.values())
    return [
        EngineScore(name, kind, answer.logit, answer.probability, answer.unlikeness)
        for name, answer in zip(films, answers, strict=True)
    ]
