"""Explain a score: judge the film once more by the functions a worker uses, and map the network's evidence.

For a bundle that was exported without its terms and is explained by maps of activation, TensorFlow is loaded into the
calling process. That is a command, never a listener or a worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.create.wrap import wrap_picture
from dicom_io.film.picture_file import is_picture
from dicom_io.film.store import FilmStore
from dicom_io.header.reader import facts_of, read_facts
from model.explanation.explain import Explainer, Explanation, full_evidence
from model.operating.calibration import UNCALIBRATED
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from worker.db.read import queries
from worker.db.read.images import JudgedImage, judged_images
from worker.errors import ModelMismatch, UsageError
from worker.judging.pipeline import OriginalMissing, judge_film, load_film
from worker.judging.readers import film_of_file
from worker.models.active import active_bundle
from worker.stores import store_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicom_io.film.film import Film
    from dicom_io.header.facts import GateFacts
    from model.labels import Method
    from model.serving.bundle import Bundle
    from model.serving.classifier import Score
    from worker.database import Database
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """The model (by default that of the film's result, else the active one) and the method (by default the bundle's).

    `side`: which patient of a stored study; None where it has one.
    """

    model: str | None = None
    method: Method | None = None
    side: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """A film, its score and the network's evidence for it."""

    sop_uid: str
    #: Empty for a file.
    study_uid: str
    film: Film
    flags: tuple[str, ...]
    score: Score
    model: str
    explanation: Explanation
    #: The logit of the last colour, the same for all films of a model.
    full: float


def explain_stored(
    settings: Settings, database: Database, study: str, sop_uid: str | None, request: ExplainRequest
) -> Explained:
    """Explain a film of a study: by default the one that decides the study's answer.

    Raises `UsageError` where no film is meant, or several patients are.
    """
    found = _image(database, study, sop_uid, request.side)
    bundle = active_bundle(settings, request.model or found.model)
    if not request.model and found.weights_sha256 not in (None, bundle.weights_sha256):
        msg = f"{bundle.label} is not the network that gave the film its result: its files were changed"
        raise ModelMismatch(msg)
    store, films = store_of(settings, known=True), FilmStore(settings.films)
    source = _Source(
        found.image.sop_uid, found.image.study_uid, found.image.facts, lambda: load_film(store, films, found.image)
    )
    try:
        return _explained(settings, bundle, source, request.method)
    except OriginalMissing:
        why = "both were purged" if found.image.is_purged else "neither it nor its original is on disk"
        msg = f"the film {source.sop_uid} cannot be explained: {why}"
        raise UsageError(msg) from None


def explain_file(settings: Settings, path: Path, request: ExplainRequest) -> Explained:
    """Explain one DICOM, JPEG or PNG file; raises DicomIoError when it cannot be read."""
    bundle = active_bundle(settings, request.model)
    facts = facts_of(wrap_picture(path)) if is_picture(path) else read_facts(path)
    source = _Source(facts.sop_uid, "", facts, lambda: film_of_file(path))
    return _explained(settings, bundle, source, request.method)


@dataclass(frozen=True, slots=True)
class _Source:
    """The film to explain; ``load`` decodes it once the gate has accepted its header."""

    sop_uid: str
    study_uid: str
    facts: GateFacts
    load: Callable[[], Film]


def _image(database: Database, study: str, sop_uid: str | None, side: int | None) -> JudgedImage:
    """The image asked for, else the first of the study; raises UsageError when there is none, or one of each patient."""
    with database.reads() as session:
        studies = sorted({row["study_uid"] for row in queries.study_detail(session, study)})
        images = judged_images(session, studies)
    if len(studies) > 1 and not sop_uid:
        msg = f"{len(studies)} studies match {study}: give a Study Instance UID"
        raise UsageError(msg)
    chosen = [item for item in images if sop_uid in (None, item.image.sop_uid) and side in (None, item.side)]
    sides = sorted({item.side for item in chosen})
    if len(sides) > 1:
        msg = f"{len(sides)} patients have films of {study}: say with --side which is meant ({', '.join(map(str, sides))})"
        raise UsageError(msg)
    if not chosen:
        msg = f"no film {sop_uid} in study {study}: `auscult show {study}` lists its films"
        raise UsageError(msg)
    return chosen[0]


def _explained(settings: Settings, bundle: Bundle, source: _Source, wanted: Method | None) -> Explained:
    """Gate, film and score by the functions that serve, then the map; raises UsageError for a film that is refused."""
    method = wanted or bundle.explained_by
    classifier = Classifier(bundle, open_engine(bundle, settings.engine))
    judgement = judge_film(classifier, source.facts, source.load, settings.policies)
    film, score = judgement.film, judgement.score
    if film is None or score is None:
        sentence = f": {judgement.reason}, {judgement.reason.sentence}" if judgement.reason else ""
        msg = f"{bundle.label} gives the film {source.sop_uid} no score, so there is nothing to explain{sentence}"
        raise UsageError(msg)
    return Explained(
        sop_uid=source.sop_uid,
        study_uid=source.study_uid,
        film=film,
        flags=judgement.flags,
        score=score,
        model=bundle.label,
        explanation=Explainer(bundle).explain(film.pixels, method).calibrated(bundle.calibration or UNCALIBRATED),
        full=full_evidence(bundle, method),
    )
