"""A study's answer is computed again and stored, under a lock of the study's row.

`decide` has the rule; here its inputs are read: the films with their results, open tasks and doubts.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, ColumnElement, Row, Select, and_, bindparam, exists, func, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import aliased

from dicom_io.reasons import Outcome, Reason
from model.labels import Label
from worker.db.answers import inboxes
from worker.db.answers.conditions import has_live_task, was_pneumonia
from worker.db.answers.decide import FAILURES, Answer, FilmResult, decide
from worker.db.answers.inboxes import Watermarks
from worker.db.answers.results import in_doubt
from worker.db.identity.aliases import Aliases
from worker.db.identity.conflicts import has_conflict
from worker.db.identity.rules import Patient
from worker.db.identity.withdrawals import withdrawn_in
from worker.db.models.bundles import hold_models
from worker.db.schema.sql import chunks, table_of
from worker.db.schema.states import NoteEffect
from worker.db.schema.study import Image, Receipt, Result, Study, Task, Withdrawal
from worker.db.schema.types import now_ms, now_utc

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.orm import Session

_ANSWER_COLUMNS = tuple(field.name for field in fields(Answer))


# Statements that each film executes are built once: to build one takes several times as long as to execute it.
_STUDIES: BindParameter[int] = bindparam("studies", expanding=True)
_LOCK_STUDIES = (
    select(Study)
    .where(Study.id.in_(_STUDIES))
    .order_by(Study.id)
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
_OF_IMAGES = table_of(Image).c.id.in_(bindparam("images", expanding=True))
_STUDIES_OF_IMAGES = select(table_of(Image).c.study_id).where(_OF_IMAGES).distinct()
_LOCK_STUDIES_OF_IMAGES = (
    select(Study)
    .where(Study.id.in_(select(table_of(Image).c.study_id).where(_OF_IMAGES)))
    .order_by(Study.id)
    .with_for_update(key_share=True, of=Study)
    .execution_options(populate_existing=True)
)


def lock_study(session: Session, study_id: int) -> Study:
    """Take the lock that every change of a study's images, results and answer holds, and read the row again."""
    return _lock_studies(session, [study_id])[0]


def _lock_studies(session: Session, study_ids: Collection[int]) -> Sequence[Study]:
    """Take the locks of several studies in the order of their ids."""
    studies = session.scalars(_LOCK_STUDIES, {"studies": list(study_ids)}).all()
    if len(studies) != len(set(study_ids)):
        msg = "a study whose answer is wanted is not there"
        raise NoResultFound(msg)
    return studies


def lock_study_of_image(session: Session, image_id: int) -> Study:
    """Take the lock of the study that an image belongs to."""
    return lock_studies_of_images(session, [image_id])[0]


def lock_studies_of_images(session: Session, image_ids: Collection[int]) -> Sequence[Study]:
    """Take the locks of the studies that images belong to; an image may move until its study is locked."""
    asked = {"images": list(image_ids)}
    while True:
        studies = session.scalars(_LOCK_STUDIES_OF_IMAGES, asked).all()
        if {study.id for study in studies} == studies_of_images(session, image_ids):
            return studies


def studies_of_images(session: Session, image_ids: Collection[int]) -> set[int]:
    """The rows that images belong to; raises NoResultFound where none of them exists any more."""
    found = set(session.scalars(_STUDIES_OF_IMAGES, {"images": list(image_ids)}))
    if image_ids and not found:
        msg = "the images are not there any more"
        raise NoResultFound(msg)
    return found


def recompute(session: Session, study_id: int, watermarks: Watermarks | None = None) -> Answer:
    """Decide and store a study's answer, in the transaction that changed what it depends on.

    A change that would make a row NORMAL lets it wait until every listener has registered what it acknowledged until
    then: a film may have come after the quiet time, while others were judged. `settle_studies` decides it then.

    Parameters
    ----------
    session : Session
    study_id : int
        The study's row.
    watermarks : Watermarks, optional
        Of the listeners, where the caller has read them for many studies.

    Returns
    -------
    Answer
        What the row says now.
    """
    return recompute_all(session, [study_id], watermarks)[study_id]


def recompute_all(
    session: Session, study_ids: Collection[int], watermarks: Watermarks | None = None, *, is_settling: bool = False
) -> dict[int, Answer]:
    """Decide and store the answers of some hundred studies at most, with as many statements as for one.

    `is_settling`: nothing has changed and their time has come, so that a NORMAL waits for nothing more.
    """
    studies = _lock_studies(session, study_ids)
    session.flush()
    # After the commit of a suspension no answer is decided without it.
    hold_models(session)
    return recompute_locked(session, studies, watermarks, is_settling=is_settling)


def recompute_locked(
    session: Session, studies: Sequence[Study], watermarks: Watermarks | None = None, *, is_settling: bool = False
) -> dict[int, Answer]:
    """As `recompute_all`, for rows that the caller has locked and read under these locks; it holds the models, too.

    What the caller has changed of other entities is flushed.
    """
    found = _films_of(session, studies)
    facts = {row.id: row for row in session.execute(_facts(), {"studies": [study.id for study in studies]})}
    if watermarks is None:
        # Most rows that gained a film wait for their quiet time, whatever the listeners say.
        is_due = any(facts[study.id].clock >= study.ready_at_ms for study in studies)
        watermarks = inboxes.watermarks(session) if is_due else Watermarks()
    answers = {
        study.id: _decided(session, study, found[study.id], facts[study.id], watermarks, is_settling=is_settling)
        for study in studies
    }
    session.flush()
    return answers


@functools.cache
def _facts() -> Select[*tuple[Any, ...]]:
    """What else the answers of studies depend on, and the database's clock."""
    return select(
        Study.id,
        now_ms().label("clock"),
        now_utc().label("moment"),
        has_conflict(Study.id, counts_withdrawn=True).label("may_conflict"),
        was_pneumonia(Study.id).label("was_positive"),
    ).where(Study.id.in_(_STUDIES))


def _decided(
    session: Session,
    study: Study,
    found: _FilmsOfStudy,
    facts: Row[*tuple[Any, ...]],
    watermarks: Watermarks,
    *,
    is_settling: bool,
) -> Answer:
    """Decide a study's answer and write it into its row."""
    in_conflict = facts.may_conflict and session.execute(select(has_conflict(study.id))).scalar_one()
    suspects = {
        Reason.IDENTITY_CONFLICT: in_conflict or found.names_others,
        Reason.MODEL_SUSPENDED: any(film.in_doubt for film in found.films),
    }
    lowered = facts.was_positive and not any(film.label is Label.PNEUMONIA for film in found.films)

    def decided() -> Answer:
        ready = facts.clock >= study.ready_at_ms and watermarks.is_registered(study.ready_at_ms)
        doubts = suspects | {Reason.LISTENER_SILENT: ready and watermarks.is_silent(study.ready_at_ms)}
        return decide(
            found.films,
            ready=ready,
            open_tasks=found.open_tasks,
            doubts=[reason for reason, applies in doubts.items() if applies],
            lowered=lowered,
            withdrawn=found.withdrawn > 0,
        )

    answer = decided()
    turns_normal = answer.label is Label.NORMAL and study.label is not Label.NORMAL
    if turns_normal and not is_settling and not watermarks.is_all_registered(facts.clock):
        study.ready_at_ms = facts.clock
        study.force_at_ms = max(study.force_at_ms, facts.clock)
        answer = decided()
    changed = any(getattr(study, name) != getattr(answer, name) for name in _ANSWER_COLUMNS)
    for name in _ANSWER_COLUMNS:
        setattr(study, name, getattr(answer, name))
    study.n_images = found.images
    study.n_scored = found.scored
    if not answer.state.is_terminal:
        study.finished_at = None
    elif changed or study.finished_at is None:
        study.finished_at = facts.moment
    return answer


@dataclass(frozen=True, slots=True)
class _FilmsOfStudy:
    """The current films of a study as `decide` takes them."""

    films: tuple[FilmResult, ...]
    #: Current films, with those that are withdrawn.
    images: int
    withdrawn: int
    scored: int
    open_tasks: bool
    #: Whether a film names another patient than the row does.
    names_others: bool


@functools.cache
def _films() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Image.id,
            Image.study_id,
            Image.sop_uid,
            Image.patient_key,
            Image.issuer_of_patient_id,
            Image.has_pixel_data,
            Result,
            Task.revision,
            in_doubt().label("doubted"),
            has_live_task().label("is_open"),
            # Most films have neither, and what these mean is asked for them alone.
            exists().where(Withdrawal.image_id == Image.id).correlate(Image).label("met_note"),
            _has_earlier().label("has_earlier"),
        )
        .select_from(Image)
        .outerjoin(Result, and_(Result.image_id == Image.id, Result.is_current))
        .outerjoin(Task, Task.id == Result.task_id)
        .where(Image.study_id.in_(_STUDIES), Image.is_current)
        .order_by(Image.id)
        .execution_options(populate_existing=True)
    )


def _has_earlier() -> ColumnElement[bool]:
    """SQL: whether the row has versions of a film that do not count."""
    other = aliased(Image)
    same = (other.study_id == Image.study_id, other.sop_uid == Image.sop_uid, ~other.is_current)
    return exists().where(*same).correlate(Image)


def _films_of(session: Session, studies: Sequence[Study]) -> dict[int, _FilmsOfStudy]:
    """The current films of each study with their current results."""
    ids = [study.id for study in studies]
    rows = session.execute(_films(), {"studies": ids}).all()
    of_study: dict[int, list[Row[*tuple[Any, ...]]]] = {study_id: [] for study_id in ids}
    for row in rows:
        of_study[row.study_id].append(row)
    asked = sorted({row.study_id for row in rows if row.met_note or row.has_earlier})
    withdrawn = withdrawn_in(session, asked) if asked else {}
    return {
        study.id: _films_of_study(session, study, of_study[study.id], withdrawn.get(study.id, {})) for study in studies
    }


def _films_of_study(
    session: Session, study: Study, rows: Sequence[Row[*tuple[Any, ...]]], withdrawn: Mapping[int, NoteEffect]
) -> _FilmsOfStudy:
    judged = {
        row.sop_uid: _film_result(row.Result, is_new=row.revision == study.revision, in_doubt=bool(row.doubted))
        for row in rows
    }
    out = {row.sop_uid for row in rows if withdrawn.get(row.id) is NoteEffect.WITHDRAWS}
    kept = {row.sop_uid for row in rows if row.id in withdrawn} - out
    has_earlier = {row.sop_uid for row in rows if row.has_earlier}
    unjudged = [uid for uid in has_earlier - out if judged[uid].outcome is None or judged[uid].outcome in FAILURES]
    left_out = [image_id for image_id, effect in withdrawn.items() if effect is NoteEffect.WITHDRAWS]
    films = judged | _earlier_pneumonia(session, study.id, unjudged, left_out)
    counting = {uid: film for uid, film in films.items() if uid not in out | kept}
    patient = Patient.of(study.patient_id, study.issuer_of_patient_id)
    named = {
        Patient(row.patient_key, row.issuer_of_patient_id)
        for row in rows
        if row.patient_key and row.sop_uid in counting
    }
    return _FilmsOfStudy(
        films=(*counting.values(), *_kept_pneumonia(session, study.id, films, counting, kept)),
        images=len(rows),
        withdrawn=sum(row.id in withdrawn and _is_film(row) for row in rows),
        scored=sum(judged[uid].outcome is Outcome.OK for uid in counting),
        open_tasks=any(row.is_open and row.sop_uid not in out for row in rows),
        names_others=_names_others(session, patient, named),
    )


def _is_film(row: Row[*tuple[Any, ...]]) -> bool:
    """Whether to withdraw an object says something about the answer: not a note, and no result of our own."""
    is_own = row.Result is not None and row.Result.reason_code == Reason.OWN_RESULT
    return bool(row.has_pixel_data and not is_own)


def _names_others(session: Session, patient: Patient, named: Collection[Patient]) -> bool:
    """Whether films name a patient who is not that of the row, by now: merges are asked only where IDs differ."""
    others = [other for other in named if not other.may_be(patient)]
    if not others:
        return False
    aliases = Aliases(session)
    return not all(aliases.of(other).may_be(aliases.of(patient)) for other in others)


def _kept_pneumonia(
    session: Session,
    study_id: int,
    films: Mapping[str, FilmResult],
    counting: Mapping[str, FilmResult],
    kept: Collection[str],
) -> list[FilmResult]:
    """The PNEUMONIA of films rejected for quality that no later film of the row replaces, flagged."""
    positive = {uid: films[uid] for uid in kept if films[uid].label is Label.PNEUMONIA}
    if not positive:
        return []
    first = dict(
        session.execute(
            select(Image.sop_uid, func.min(Receipt.first_at_ms))
            .join(Receipt, Receipt.image_id == Image.id)
            .where(Image.study_id == study_id)
            .group_by(Image.sop_uid)
        ).all()
    )
    judged = [first.get(uid, 0) for uid, film in counting.items() if film.outcome is Outcome.OK]
    flag = str(Reason.REJECTED_FOR_QUALITY)
    return [
        replace(film, flags=(*film.flags, flag))
        for uid, film in positive.items()
        if max(judged, default=-1) <= first.get(uid, 0)
    ]


@functools.cache
def _earlier() -> Select[*tuple[Any, ...]]:
    return (
        select(Image.sop_uid, Result, in_doubt())
        .join(Result, and_(Result.image_id == Image.id, Result.is_current))
        .where(
            Image.study_id == bindparam("row"),
            ~Image.is_current,
            Image.sop_uid.in_(bindparam("films", expanding=True)),
            Result.outcome.not_in(FAILURES),
            Image.id.not_in(bindparam("left_out", expanding=True)),
        )
        .order_by(Image.received_at, Image.id)
    )


def _earlier_pneumonia(
    session: Session, study_id: int, sop_uids: Sequence[str], left_out: Sequence[int]
) -> dict[str, FilmResult]:
    """The PNEUMONIA of the last judged version of films whose counting version is not judged, flagged.

    `left_out`: versions that were withdrawn.
    """
    found: dict[str, FilmResult] = {}
    for some in chunks(sop_uids):
        asked = {"row": study_id, "films": list(some), "left_out": list(left_out)}
        rows = session.execute(_earlier(), asked).all()
        found.update((uid, _film_result(result, is_new=False, in_doubt=doubted)) for uid, result, doubted in rows)
    flag = str(Reason.CORRECTION_PENDING)
    return {
        uid: replace(film, flags=(*film.flags, flag)) for uid, film in found.items() if film.label is Label.PNEUMONIA
    }


def _film_result(result: Result | None, *, is_new: bool, in_doubt: bool) -> FilmResult:
    if result is None:
        return FilmResult(is_new=False)
    return FilmResult(
        outcome=result.outcome,
        reason=Reason(result.reason_code) if result.reason_code else None,
        flags=tuple(result.flags),
        probability=result.probability,
        threshold=result.threshold,
        label=result.label,
        model_id=result.model_id,
        is_new=is_new,
        band=result.band,
        in_doubt=in_doubt,
    )
