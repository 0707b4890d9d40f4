"""The answer of a study with the films on which it rests, for objects that repeat it outside the worklist."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from dicom_io.reasons import Outcome
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.read.naming import is_meant
from worker.db.schema.study import Image, Model, Result, Study

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from model.labels import Band, Label
    from worker.db.schema.states import StudyState


@dataclass(frozen=True, slots=True)
class AnsweringModel:
    """The model that gave an answer; the fields are columns of `model`."""

    model_id: int
    name: str
    version: str
    weights_sha256: str
    digest: str


@dataclass(frozen=True, slots=True)
class AnsweredFilm:
    """A current film that was judged and is not withdrawn, with its current result."""

    sop_class_uid: str
    sop_uid: str
    series_uid: str
    store_key: str
    probability: float
    label: Label
    model_id: int
    #: When its analysis began: before the film was read.
    began_at: datetime


@dataclass(frozen=True, slots=True)
class AnsweredStudy:
    """A study, its answer, and its judged films by falling probability; `model` and `films` may be missing."""

    study_uid: str
    side: int
    state: StudyState
    label: Label | None
    probability: float | None
    threshold: float | None
    band: Band | None
    reason: str | None
    flags: tuple[str, ...]
    model: AnsweringModel | None
    films: tuple[AnsweredFilm, ...]

    @property
    def deciding(self) -> AnsweredFilm | None:
        """The film whose score the answer is; None where it is not among the judged ones."""
        return next(
            (
                film
                for film in self.films
                if self.model is not None
                and (film.probability, film.label, film.model_id) == (self.probability, self.label, self.model.model_id)
            ),
            None,
        )


def study_row(session: Session, study_id: int) -> Study:
    """The row of a study as it is now."""
    return session.get_one(Study, study_id, populate_existing=True)


def answered_studies(session: Session, key: str, side: int | None = None) -> list[AnsweredStudy]:
    """The studies of this Study Instance UID, accession number or Patient ID, the oldest first; `side`: only that row of each."""
    named = (
        select(Study, Model)
        .outerjoin(Model, Model.id == Study.model_id)
        .where(is_meant(session, Study, key), Study.merged_into_id.is_(None))
        .order_by(Study.first_rx_at, Study.side)
    )
    if side is not None:
        named = named.where(Study.side == side)
    return [_answered(session, study, model) for study, model in session.execute(named).all()]


def _answered(session: Session, study: Study, model: Model | None) -> AnsweredStudy:
    return AnsweredStudy(
        study_uid=study.study_uid,
        side=study.side,
        state=study.state,
        label=study.label,
        probability=study.probability,
        threshold=study.threshold,
        band=study.band,
        reason=study.reason,
        flags=study.flags,
        model=None
        if model is None
        else AnsweringModel(model.id, model.name, model.version, model.weights_sha256, model.digest),
        films=_films(session, study.id),
    )


def _films(session: Session, study_id: int) -> tuple[AnsweredFilm, ...]:
    rows = session.execute(
        select(Image, Result)
        .join(Result, (Result.image_id == Image.id) & Result.is_current)
        .where(Image.study_id == study_id, Image.is_current, Result.outcome == Outcome.OK, ~is_withdrawn())
        .order_by(Result.probability.desc(), Image.id)
    ).all()
    return tuple(_film(image, result) for image, result in rows)


def _film(image: Image, result: Result) -> AnsweredFilm:
    assert result.probability is not None
    assert result.label is not None
    took_ms = (result.decode_ms or 0) + (result.inference_ms or 0)
    return AnsweredFilm(
        image.sop_class_uid,
        image.sop_uid,
        image.series_uid,
        image.store_key,
        result.probability,
        result.label,
        result.model_id,
        result.created_at - timedelta(milliseconds=took_ms),
    )
