"""Films and maps of evidence as pictures of bounded size within a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dicom_io.errors import DicomIoError
from dicom_io.film.store import FilmStore
from model.errors import ModelError
from model.explanation.explain import method_by_litert
from worker.batches.explain import ExplainRequest, explain_stored
from worker.errors import WorkerError
from worker.models.active import bundle_of
from worker.results.contours import drawn, has_lines, levels_of, nothing_of, sentence_of
from worker.results.heat_map import MAX_DIFFERENCE
from worker.results.picture import METHODS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.database import Database
    from worker.db.read.report import ReportFilm
    from worker.settings import Settings

#: The longest side of a picture in a page; a film of 3000 x 2500 would take 8 MB.
SIDE_PX = 900


@dataclass(frozen=True, slots=True)
class Map:
    """A map of evidence on a film: its picture, what it shows, and the words of its lines, weakest first."""

    uri: str
    method: str
    sentence: str
    #: Empty where the map stays below the weakest level.
    levels: tuple[str, ...]


def film_uri(settings: Settings, film: ReportFilm) -> str | None:
    """The stored film as a PNG in a data URI; None where it is not held or cannot be read."""
    if film.film_key is None or film.film_version is None or film.is_film_purged:
        return None
    try:
        pixels = FilmStore(settings.films).load(film.film_key, film.film_version).pixels
    except (OSError, DicomIoError):
        return None
    return _uri(_bounded(pixels))


def map_of(settings: Settings, database: Database, study: tuple[str, int], film: ReportFilm) -> Map | str:
    """The evidence on a film of a study, which is named by its UID and side, by the model that judged it, or a sentence that says why there is none."""
    if film.model is None or film.probability is None:
        return "There is no map: the film was not judged."
    try:
        method = method_by_litert(bundle_of(settings, film.model))
        study_uid, side = study
        made = explain_stored(settings, database, study_uid, film.sop_uid, ExplainRequest(film.model, method, side))
    except (WorkerError, ModelError, DicomIoError):
        return f"There is no map: {film.model} or the film is not at hand any more."
    if made.film.sha256 != film.film_key or abs(made.score.probability - film.probability) > MAX_DIFFERENCE:
        return f"There is no map: {film.model} gives the film another score now than the one on record."
    shown = _bounded(made.film.pixels)
    evidence, levels = made.explanation.over((shown.height, shown.width), smooth=True), levels_of(made.explanation)
    has_any = has_lines(evidence, levels)
    return Map(
        _uri(Image.fromarray(drawn(np.asarray(shown), evidence, levels))),
        METHODS[method],
        sentence_of(made.explanation) if has_any else nothing_of(made.explanation),
        tuple(level.words for level in levels) if has_any else (),
    )


def _bounded(film: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(film))
    zoom = SIDE_PX / max(picture.size)
    # Small films are enlarged too, so that contour lines are as thin on them as on others.
    size = (max(round(picture.width * zoom), 1), max(round(picture.height * zoom), 1))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
