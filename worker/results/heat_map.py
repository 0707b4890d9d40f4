"""The heat map of a study: the film that decides is explained by LiteRT, drawn and wrapped; no TensorFlow is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.results.capture import make_capture
from model.explanation.explain import method_by_litert
from model.labels import Method
from worker.batches.explain import ExplainRequest, explain_stored
from worker.errors import UsageError
from worker.models.active import bundle_of
from worker.results.picture import METHODS, heat_map_picture

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicom_io.results.result import StudyResult
    from dicom_io.results.source_header import SourceHeader
    from worker.database import Database
    from worker.settings import Settings

#: By how much a score may differ from the one on record: engines and machines round differently (promise 5).
MAX_DIFFERENCE = 0.001

_HOW = {
    Method.OCCLUSION: "fall of the model's answer when a place of the film is covered by its mean grey",
    Method.HIRESCAM: "what each place of the film adds to the model's answer",
    Method.GRAD_CAM: "what each place of the film adds to the model's answer",
}


def make_heat_map(settings: Settings, database: Database, result: StudyResult, source: SourceHeader) -> Dataset:
    """Make the heat map of a study's result; raises `UsageError` where the film is gone or its score is another by now."""
    label = f"{result.model.name}-{result.model.version}"
    method = method_by_litert(bundle_of(settings, label))
    request = ExplainRequest(label, method, result.side)
    made = explain_stored(settings, database, result.study_uid, result.deciding.sop_uid, request)
    if abs(made.score.probability - result.deciding.probability) > MAX_DIFFERENCE:
        msg = (
            f"{label} gives the film {result.deciding.sop_uid} another score now than the one on record, so no heat map "
            "of it can be made: re-run the study"
        )
        raise UsageError(msg)
    picture = heat_map_picture(made.film.pixels, made.explanation, result)
    derivation = f"Contour lines of evidence on the film, by {METHODS[method]}: {_HOW[method]}. Model {label}."
    return make_capture(picture, result, source, derivation)
