"""A study's row and its films become what a result object says; raises `NothingToReport` where nothing may be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from dicom_io.results.result import JudgedFilm, ResultModel, StudyResult
from model.errors import BundleError
from worker.errors import UsageError
from worker.models.active import bundle_of
from worker.results.finding import SILENCING, finding_status

if TYPE_CHECKING:
    from dicom_io.results.result import Predecessor
    from worker.db.read.answers import AnsweredFilm, AnsweredStudy, AnsweringModel
    from worker.settings import Settings


class NothingToReport(UsageError):
    """A study has no answer that may be repeated outside the worklist."""


def study_result(settings: Settings, answered: AnsweredStudy, predecessor: Predecessor | None = None) -> StudyResult:
    """What may be said of a study; raises `NothingToReport` with the reason where that is nothing."""
    status = finding_status(answered.label, answered.band, answered.state, answered.flags)
    deciding, model, threshold = answered.deciding, answered.model, answered.threshold
    if status is None or deciding is None or model is None or threshold is None:
        msg = f"no result object can be made of {answered.study_uid}: {_why_not(answered)}"
        raise NothingToReport(msg)
    basis, others = _basis(answered, deciding)
    return StudyResult(
        study_uid=answered.study_uid,
        side=answered.side,
        status=status,
        films=tuple(map(_judged, basis)),
        other_films=tuple(map(_judged, others)),
        threshold=threshold,
        band=answered.band.value if answered.band else "",
        flags=answered.flags,
        model=_model(settings, model),
        # Without a time zone of its own a header tells the time of the hospital's clocks, as this machine does.
        analysed_at=deciding.began_at.astimezone(),
        is_complete=answered.state.is_terminal,
        predecessor=predecessor,
    )


def _why_not(answered: AnsweredStudy) -> str:
    in_doubt = sorted(SILENCING.intersection(answered.flags))
    code = in_doubt[0] if in_doubt else answered.reason
    if answered.label is not None and not in_doubt:
        return "its answer is not that of a film that counts now; try again once it is final"
    return f"{code}, {Reason(code).sentence}" if code else f"it has no answer and is {answered.state.value}"


def _basis(answered: AnsweredStudy, deciding: AnsweredFilm) -> tuple[list[AnsweredFilm], list[AnsweredFilm]]:
    """The films on which the answer rests, the deciding one first: those that the same model judged alike; and the others."""
    alike = (deciding.label, deciding.model_id)
    rest = [film for film in answered.films if film is not deciding]
    same = [film for film in rest if (film.label, film.model_id) == alike]
    return [deciding, *same], [film for film in rest if film not in same]


def _judged(film: AnsweredFilm) -> JudgedFilm:
    return JudgedFilm(film.sop_class_uid, film.sop_uid, film.series_uid, film.probability)


def _model(settings: Settings, model: AnsweringModel) -> ResultModel:
    return ResultModel(
        model.name,
        model.version,
        model.weights_sha256,
        model.digest,
        is_site_calibrated=_is_calibrated(settings, model),
    )


def _is_calibrated(settings: Settings, model: AnsweringModel) -> bool:
    """Whether the bundle has an operating point that was proven on the site's films; one that is gone has none."""
    try:
        bundle = bundle_of(settings, f"{model.name}-{model.version}")
    except BundleError:
        return False
    return bundle.site is not None and (bundle.weights_sha256, bundle.digest) == (model.weights_sha256, model.digest)
