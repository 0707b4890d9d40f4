"""The answer of a study: decided from its films in one pure function, stored under a lock of the study's row.

The rule keeps promise 2, no silent normal: NORMAL needs a finished study, an answered film and no failed one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Exists, and_, exists, false, or_, select
from sqlalchemy.orm import aliased

from dicom_io.reasons import Outcome, Reason
from model.labels import Band, Label
from worker.db import inboxes
from worker.db.conflicts import in_doubt
from worker.db.identity import Patient
from worker.db.schema import Batch, Correction, Image, Result, Study, Task
from worker.db.sql import chunks
from worker.db.states import FILM, OPEN_TASK_STATES, StudyState
from worker.db.types import now_ms, now_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.db.inboxes import Standing

_FAILURES = (Outcome.FAILED, Outcome.BAD_INPUT)


@dataclass(frozen=True, slots=True)
class FilmResult:
    """The current result of one current image; `outcome` is None as long as there is none."""

    outcome: Outcome | None = None
    reason: Reason | None = None
    flags: tuple[str, ...] = ()
    probability: float | None = None
    threshold: float | None = None
    label: Label | None = None
    model_id: int | None = None
    #: Whether the result belongs to the study's present revision.
    is_new: bool = True
    band: Band | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the study's row says."""

    state: StudyState
    label: Label | None = None
    probability: float | None = None
    threshold: float | None = None
    reason: Reason | None = None
    flags: tuple[str, ...] = ()
    model_id: int | None = None
    band: Band | None = None


def answer(
    films: Sequence[FilmResult], *, ready: bool, open_tasks: bool, doubts: Sequence[Reason] = (), lowered: bool = False
) -> Answer:
    """Decide the answer of a study from its current images; a doubt withholds NORMAL and never a PNEUMONIA.

    `ready`: no more objects are awaited; `open_tasks`: live work of a current image is still to be done; `doubts`: what
    speaks against calling the study complete and of one patient; `lowered`: an earlier answer was PNEUMONIA.
    """
    found = _judged(films, ready=ready, open_tasks=open_tasks)
    flags = {*found.flags, *doubts}
    if found.label is Label.NORMAL and doubts:
        found = Answer(StudyState.WITHHELD, reason=max(doubts, key=_telling), model_id=found.model_id)
    if lowered and found.label is not Label.PNEUMONIA:
        flags.add(Reason.ANSWER_LOWERED)
    return replace(found, flags=tuple(sorted(flags)))


def _judged(films: Sequence[FilmResult], *, ready: bool, open_tasks: bool) -> Answer:
    positive = [film for film in films if film.outcome is Outcome.OK and film.label is Label.PNEUMONIA]
    if not ready or open_tasks:
        state = _open_state(films, ready=ready)
        return _answered(state, Label.PNEUMONIA, positive) if positive else Answer(state)
    if positive:
        return _answered(StudyState.FINAL, Label.PNEUMONIA, positive)
    failed = [film for film in films if film.outcome is None or film.outcome in _FAILURES]
    if failed:
        return _unanswered(StudyState.FAILED, failed)
    scored = [film for film in films if film.outcome is Outcome.OK]
    if scored:
        return _answered(StudyState.FINAL, Label.NORMAL, scored)
    return _unanswered(StudyState.NOT_APPLICABLE, films)


def _open_state(films: Sequence[FilmResult], *, ready: bool) -> StudyState:
    if any(film.outcome and film.is_new for film in films):
        return StudyState.PROVISIONAL
    return StudyState.QUEUED if ready else StudyState.RECEIVING


def _answered(state: StudyState, label: Label, films: Sequence[FilmResult]) -> Answer:
    """Answer by the film of the largest probability, whose threshold and model belong to it."""
    telling = max(films, key=lambda film: film.probability or 0.0)
    flags = tuple(sorted({flag for film in films for flag in film.flags}))
    return Answer(state, label, telling.probability, telling.threshold, None, flags, telling.model_id, telling.band)


def _unanswered(state: StudyState, films: Sequence[FilmResult]) -> Answer:
    """Give the most telling reason; an image that ended without any result is an error of ours."""
    reasons = [(film.reason or Reason.INTERNAL_ERROR, film.model_id) for film in films]
    if not reasons:
        # Every row had a film: none counts any more because another study or patient has it.
        return Answer(state, reason=Reason.IDENTITY_CONFLICT)
    reason, model_id = max(reasons, key=lambda item: _telling(item[0]))
    return Answer(state, reason=reason, model_id=model_id)


def _telling(reason: Reason) -> tuple[int, str]:
    """The order of reasons; the code decides between equals, so that the same films give the same row."""
    return reason.telling, reason.value


def lock_study(session: Session, study_id: int) -> Study:
    """Take the lock that every change of a study's images, results and answer holds, and read the row anew."""
    statement = select(Study).where(Study.id == study_id).with_for_update(key_share=True)
    return session.execute(statement, execution_options={"populate_existing": True}).scalar_one()


def lock_study_of_image(session: Session, image_id: int) -> Study:
    """Take the lock of the study that an image belongs to now; it may go to another one as long as none is held."""
    while True:
        study_id = session.execute(select(Image.study_id).where(Image.id == image_id)).scalar_one()
        study = lock_study(session, study_id)
        if session.execute(select(Image.study_id).where(Image.id == image_id)).scalar_one() == study_id:
            return study


def recompute(session: Session, study_id: int, standing: Standing | None = None) -> Answer:
    """Decide and store a study's answer, in the transaction that changed what it follows from.

    `standing` of the listeners, where the caller has read it for many studies.
    """
    study = lock_study(session, study_id)
    session.flush()
    standing = standing or inboxes.standing(session)
    found_films = _films(session, study)
    films = list(found_films.judged)
    is_positive = any(film.label is Label.PNEUMONIA for film in films)
    clock, moment, in_conflict, was_positive = session.execute(
        select(now_ms(), now_utc(), in_doubt(study_id), was_pneumonia(study_id) if not is_positive else false())
    ).one()
    ready = clock >= study.ready_at_ms and standing.is_registered(study.ready_at_ms)
    doubts = {
        Reason.IDENTITY_CONFLICT: in_conflict or found_films.names_others,
        Reason.LISTENER_SILENT: ready and standing.is_silent(study.ready_at_ms),
    }
    found = answer(
        films,
        ready=ready,
        open_tasks=found_films.open_tasks,
        doubts=[reason for reason, speaks_against in doubts.items() if speaks_against],
        lowered=was_positive,
    )
    changed = found != _stored(study)
    study.state, study.label = found.state, found.label
    study.probability, study.threshold = found.probability, found.threshold
    study.reason, study.flags, study.model_id = found.reason, found.flags, found.model_id
    study.band = found.band
    study.n_images = len(films)
    study.n_scored = found_films.scored
    if not found.state.is_terminal:
        study.finished_at = None
    elif changed or study.finished_at is None:
        study.finished_at = moment
    session.flush()
    return found


def _stored(study: Study) -> Answer:
    reason = Reason(study.reason) if study.reason else None
    return Answer(
        study.state,
        study.label,
        study.probability,
        study.threshold,
        reason,
        tuple(study.flags),
        study.model_id,
        study.band,
    )


def has_open_task() -> Exists:
    """SQL: live work on an image is still to be done."""
    task = aliased(Task)
    is_live = task.batch_id.is_(None)
    return exists().where(task.image_id == Image.id, is_live, task.state.in_(OPEN_TASK_STATES)).correlate(Image)


@dataclass(frozen=True, slots=True)
class _Films:
    """The films of a row as its answer takes them."""

    judged: tuple[FilmResult, ...]
    scored: int
    open_tasks: bool
    #: Whether one names another patient than the row does.
    names_others: bool


def _films(session: Session, study: Study) -> _Films:
    rows = session.execute(
        select(Image.sop_uid, Image.patient_key, Image.issuer_of_patient_id, Result, Task.revision, has_open_task())
        .select_from(Image)
        .outerjoin(Result, and_(Result.image_id == Image.id, Result.is_current))
        .outerjoin(Task, Task.id == Result.task_id)
        .where(Image.study_id == study.id, Image.is_current)
        .order_by(Image.id)
        .execution_options(populate_existing=True)
    ).all()
    own = {uid: _film(result, is_new=revision == study.revision) for uid, _, _, result, revision, _ in rows}
    patient = Patient.of(study.patient_id, study.issuer_of_patient_id)
    named = {Patient(key, issuer) for _, key, issuer, *_ in rows if key}
    waiting = [uid for uid, film in own.items() if film.outcome is None or film.outcome in _FAILURES]
    return _Films(
        judged=tuple((own | _standing_in(session, study.id, waiting)).values()),
        scored=sum(film.outcome is Outcome.OK for film in own.values()),
        open_tasks=any(is_open for *_, is_open in rows),
        names_others=not all(other.may_be(patient) for other in named),
    )


def _standing_in(session: Session, study_id: int, sop_uids: Sequence[str]) -> dict[str, FilmResult]:
    """Of films whose counting version is not judged, the PNEUMONIA of the last version that was: flagged, it goes on."""
    found: dict[str, FilmResult] = {}
    for some in chunks(sop_uids):
        rows = session.execute(
            select(Image.sop_uid, Result)
            .join(Result, and_(Result.image_id == Image.id, Result.is_current))
            .where(
                Image.study_id == study_id,
                ~Image.is_current,
                Image.sop_uid.in_(some),
                Result.outcome.not_in(_FAILURES),
            )
            .order_by(Image.received_at, Image.id)
        ).all()
        found.update((uid, _film(result, is_new=False)) for uid, result in rows)
    flag = str(Reason.CORRECTION_PENDING)
    return {
        uid: replace(film, flags=(*film.flags, flag)) for uid, film in found.items() if film.label is Label.PNEUMONIA
    }


def was_pneumonia(study_id: int) -> ColumnElement[bool]:
    """SQL: whether a result that counts or counted, of any version of a film that is or was in this row, says so."""
    gone = select(Correction.image_id).where(Correction.study_id == study_id, Correction.column_name == FILM)
    counts = or_(Result.batch_id.is_(None), Result.batch_id.in_(select(Batch.id).where(~Batch.keep_current)))
    return exists(
        select(Result.id)
        .join(Image, Image.id == Result.image_id)
        .where(Result.label == Label.PNEUMONIA, counts, or_(Image.study_id == study_id, Image.id.in_(gone)))
    )


def _film(result: Result | None, *, is_new: bool) -> FilmResult:
    if result is None:
        return FilmResult(is_new=False)
    return FilmResult(
        result.outcome,
        Reason(result.reason_code) if result.reason_code else None,
        tuple(result.flags),
        result.probability,
        result.threshold,
        result.label,
        result.model_id,
        is_new,
        result.band,
    )
