"""What the store still holds of a traced result, and whether the same bundle gives its score again.

The film that was judged is found by its digest, which is also its name. The original is made into a film by the code of
today: where a later version of that code makes another film, the score may differ and the document says by how much.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from dicom_io.errors import FilmError, SpoolError
from dicom_io.film.grey_chain import film_with_chain
from dicom_io.film.store import FilmStore
from dicom_io.header.digests import dataset_sha256
from model.errors import ModelError
from model.serving.classifier import Classifier
from model.serving.difference import engine_difference
from model.serving.engine import EngineKind, open_engine
from worker.judging.memory import within_memory
from worker.models.active import bundle_of
from worker.stores import store_of

if TYPE_CHECKING:
    from dicom_io.film.film import Film
    from dicom_io.film.grey_chain import GreyChain
    from model.serving.bundle import Bundle
    from model.serving.classifier import Score
    from worker.db.read.trace import TracedResult
    from worker.settings import Settings


class Missing(StrEnum):
    """Why something that made a result cannot be had again."""

    NONE_MADE = "NONE_MADE"
    PURGED = "PURGED"
    MISSING = "MISSING"
    ALTERED = "ALTERED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    BUNDLE_UNAVAILABLE = "BUNDLE_UNAVAILABLE"
    NOT_SCORED = "NOT_SCORED"


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The stored original of a result; `is_unaltered`: whether it has the digest with which it was received."""

    is_unaltered: bool | None = None
    film: Film | None = None
    chain: GreyChain | None = None
    #: Why there is no film of it: a `Missing`, or the reason of the film's error.
    why_not: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The film that was judged, as it is kept."""

    film: Film | None = None
    why_not: str | None = None


class Kept:
    """The store, the films and the bundles that traced results came from; each original and bundle is opened once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = store_of(settings, known=True)
        self._films = FilmStore(settings.films)
        self._bundle = functools.cache(self._find_bundle)
        self._classifier = functools.lru_cache(maxsize=1)(self._open_classifier)
        self._original = functools.lru_cache(maxsize=4)(self._read_original)

    def original(self, traced: TracedResult) -> Original:
        """The original and the film that the code of today makes of it."""
        if traced.is_original_purged:
            return Original(why_not=Missing.PURGED)
        return self._original(traced.image.store_key, traced.object_sha256)

    def judged(self, traced: TracedResult) -> Judged:
        """The film that was judged, by its digest; an image's newer film does not stand in for it."""
        key, version = traced.film_sha256, traced.film_version
        if key is None or version is None:
            return Judged(why_not=Missing.NONE_MADE)
        try:
            if not self._films.exists(key):
                self._films.check()
                return Judged(why_not=Missing.PURGED if traced.is_film_purged else Missing.MISSING)
            film = self._films.load(key, version)
        except SpoolError:
            return Judged(why_not=Missing.STORE_UNAVAILABLE)
        except FilmError:
            return Judged(why_not=Missing.ALTERED)
        except OSError:
            return Judged(why_not=Missing.MISSING)
        return Judged(film) if film.sha256 == key else Judged(why_not=Missing.ALTERED)

    def bundle(self, traced: TracedResult) -> Bundle | None:
        """The bundle that gave the result; None where it is gone, or one of its name has other contents."""
        return self._bundle(traced.model, traced.weights_sha256, traced.litert_sha256, traced.digest)

    def scored_again(self, traced: TracedResult) -> dict[str, Any]:
        """Score the original and the film that was judged by the same bundle, and compare with what is recorded.

        `reproduced` is True where one of them gives every recorded value of the score to the last bit, False where none
        does, and None where the network never saw the film or nothing is left to score; then `why_not` says which.
        `is_within_rounding` is the same by the bound that `auscult model verify` holds two engines to: another processor
        may round otherwise.
        """
        if not traced.was_scored:
            return _not_scored(Missing.NOT_SCORED)
        bundle = self.bundle(traced)
        if bundle is None:
            return _not_scored(Missing.BUNDLE_UNAVAILABLE)
        engine = traced.engine or self._settings.engine
        classifier = self._classifier(bundle.label, engine)
        original, judged = self.original(traced), self.judged(traced)
        tried = {
            "from_original": _compared(traced, classifier, original.film, original.why_not),
            "from_film": _compared(traced, classifier, judged.film, judged.why_not),
        }
        scored = [one for one in tried.values() if one["equal"] is not None]
        return {
            "reproduced": any(one["equal"] for one in scored) if scored else None,
            "is_within_rounding": any(one["is_within_rounding"] for one in scored) if scored else None,
            "why_not": None if scored else Missing.MISSING,
            "engine": engine,
            **tried,
        }

    def _find_bundle(self, label: str, weights_sha256: str, litert_sha256: str | None, digest: str) -> Bundle | None:
        try:
            bundle = bundle_of(self._settings, label)
        except (ModelError, OSError):
            return None
        is_same = (bundle.weights_sha256, bundle.digest) == (weights_sha256, digest)
        return bundle if is_same and litert_sha256 in (None, bundle.litert_sha256) else None

    def _open_classifier(self, label: str, engine: str) -> Classifier:
        """Raises EngineError where the engine that gave the result is not installed."""
        bundle = bundle_of(self._settings, label)
        assert engine in get_args(EngineKind)
        return Classifier(bundle, open_engine(bundle, cast("EngineKind", engine)))

    def _read_original(self, key: str, sha256: str) -> Original:
        try:
            if not self._store.exists(key):
                self._store.check()
                return Original(why_not=Missing.MISSING)
            path = self._store.path(key)
            if dataset_sha256(path) != sha256:
                return Original(is_unaltered=False, why_not=Missing.ALTERED)
            film, chain = within_memory(self._settings.film_memory_mb, lambda: film_with_chain(path))
        except SpoolError:
            return Original(why_not=Missing.STORE_UNAVAILABLE)
        except FilmError as error:
            return Original(is_unaltered=True, why_not=error.reason)
        except OSError:
            return Original(why_not=Missing.MISSING)
        return Original(is_unaltered=True, film=film, chain=chain)


def _not_scored(why_not: Missing) -> dict[str, Any]:
    nothing = dict.fromkeys(("reproduced", "is_within_rounding", "engine", "from_original", "from_film"))
    return {**nothing, "why_not": why_not}


def _compared(traced: TracedResult, classifier: Classifier, film: Film | None, why_not: str | None) -> dict[str, Any]:
    if film is None:
        return {"equal": None, "is_within_rounding": None, "why_not": why_not}
    score, members = classifier.score(film.pixels), classifier.members(film.pixels)
    # Of a film outside the network's scope only that is recorded.
    names = ("logit", "probability", "label", "band", "unlikeness") if traced.logit is not None else ("unlikeness",)
    is_equal = all(getattr(score, name) == getattr(traced, name) for name in names)
    return {
        "equal": is_equal,
        "is_within_rounding": is_equal or _is_rounded(traced, score),
        "why_not": None,
        "film_sha256": film.sha256,
        "film_version": film.version,
        "is_the_judged_film": film.sha256 == traced.film_sha256,
        "logit": score.logit,
        "logit_difference": None if traced.logit is None else score.logit - traced.logit,
        "members": None if members is None else list(members),
        "probability": score.probability,
        "label": score.label,
        "band": score.band,
        "unlikeness": score.unlikeness,
    }


def _is_rounded(traced: TracedResult, score: Score) -> bool:
    """Whether a score differs from the recorded one by the rounding of float32 alone."""
    if traced.logit is None or (score.label, score.band) != (traced.label, traced.band):
        return False
    return engine_difference(np.array([traced.logit]), np.array([score.logit])).is_small
