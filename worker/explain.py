"""Why a film got its score: the film is judged once more by the functions a worker uses, and the network's evidence told.

TensorFlow is loaded in the calling process, which is a command's own: never a listener's, never a worker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.film import is_picture
from dicom_io.header import facts_of, read_facts
from dicom_io.wrap import wrap_picture
from model.calibrate import UNCALIBRATED
from model.engine import Classifier, open_engine
from model.explain import Explainer, Explanation, Method, full_evidence
from worker.bootstrap import active_bundle, store_of
from worker.db import queries
from worker.db.images import JudgedImage, judged_images
from worker.errors import ModelMismatch, UsageError
from worker.films import FilmStore
from worker.pipeline import OriginalMissing, judge_film, load_film
from worker.readers import film_of_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicom_io.facts import GateFacts
    from dicom_io.film import Film
    from model.bundle import Bundle
    from model.engine import Score
    from worker.bootstrap import Database
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """By which model (by default the one that gave the film's result, else the active one) and which method."""

    model: str | None = None
    method: Method = Method.HIRESCAM


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """A film, its score and the network's evidence for it."""

    sop_uid: str
    film: Film
    flags: tuple[str, ...]
    score: Score
    model: str
    explanation: Explanation
    #: Logits that get the last colour; the same for all films of a model.
    full: float


def explain_stored(
    settings: Settings, database: Database, study: str, sop_uid: str | None, request: Request
) -> Explained:
    """Explain a film of a study: by default the one that decides the study's answer."""
    found = _image(database, study, sop_uid)
    bundle = active_bundle(settings, request.model or found.model)
    if not request.model and found.weights_sha256 not in (None, bundle.weights_sha256):
        msg = f"{bundle.label} is not the network that gave the film its result: its files were changed"
        raise ModelMismatch(msg)
    store, films = store_of(settings, known=True), FilmStore(settings.films)
    subject = _Subject(found.image.sop_uid, found.image.facts, lambda: load_film(store, films, found.image))
    try:
        return _explained(settings, bundle, subject, request.method)
    except OriginalMissing:
        msg = f"the film {subject.sop_uid} cannot be explained: neither it nor its original is on disk"
        raise UsageError(msg) from None


def explain_file(settings: Settings, path: Path, request: Request) -> Explained:
    """Explain one DICOM, JPEG or PNG file; raises DicomIoError when it cannot be read."""
    bundle = active_bundle(settings, request.model)
    facts = facts_of(wrap_picture(path)) if is_picture(path) else read_facts(path)
    subject = _Subject(facts.sop_uid, facts, lambda: film_of_file(path))
    return _explained(settings, bundle, subject, request.method)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is explained; ``load`` decodes it, once the gate has let it through."""

    sop_uid: str
    facts: GateFacts
    load: Callable[[], Film]


def _image(database: Database, study: str, sop_uid: str | None) -> JudgedImage:
    """The image asked for, else the first of the study; raises UsageError when there is none."""
    with database.reads() as session:
        studies = sorted({row["study_uid"] for row in queries.study_detail(session, study)})
        images = judged_images(session, studies)
    if len(studies) > 1 and not sop_uid:
        msg = f"{len(studies)} studies have the accession number {study}: give a Study Instance UID"
        raise UsageError(msg)
    chosen = [item for item in images if sop_uid in (None, item.image.sop_uid)]
    if not chosen:
        msg = f"no film {sop_uid} in study {study}: `auscult show {study}` lists its films"
        raise UsageError(msg)
    return chosen[0]


def _explained(settings: Settings, bundle: Bundle, subject: _Subject, method: Method) -> Explained:
    """Gate, film and score by the functions that serve, then the map; raises UsageError for a film that is refused."""
    classifier = Classifier(bundle, open_engine(bundle, settings.engine))
    judgement = judge_film(classifier, subject.facts, subject.load, settings.policies)
    film, score = judgement.film, judgement.score
    if film is None or score is None:
        sentence = f": {judgement.reason}, {judgement.reason.sentence}" if judgement.reason else ""
        msg = f"{bundle.label} gives the film {subject.sop_uid} no score, so there is nothing to explain{sentence}"
        raise UsageError(msg)
    return Explained(
        sop_uid=subject.sop_uid,
        film=film,
        flags=judgement.flags,
        score=score,
        model=bundle.label,
        explanation=Explainer(bundle).explain(film.pixels, method).calibrated(bundle.calibration or UNCALIBRATED),
        full=full_evidence(bundle),
    )
