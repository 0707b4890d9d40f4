"""Stored answers that are not what the rule says, and films that count and that nobody works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, exists, func, select

from dicom_io.reasons import Reason
from worker.db.answers.conditions import has_open_task
from worker.db.answers.inboxes import Watermarks
from worker.db.answers.recompute import lock_study_of_image, recompute
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.schema.states import TERMINAL_STATES
from worker.db.schema.study import Image, Result, Study
from worker.db.tasks.create import add_live_task

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: What a row says of its films; the other columns of a study are facts.
_ANSWER = (
    Study.state,
    Study.label,
    Study.probability,
    Study.threshold,
    Study.reason,
    Study.flags,
    Study.model_id,
    Study.band,
    Study.n_images,
    Study.n_scored,
)


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A row of the worklist, by what a person finds it by."""

    study_id: int
    study_uid: str
    side: int


@dataclass(frozen=True, slots=True)
class Unworked:
    """An image that counts and has neither a result nor an open task."""

    image_id: int
    study_uid: str
    sop_uid: str


def count_studies(session: Session) -> int:
    """How many studies are on record."""
    return session.execute(select(func.count()).select_from(Study)).scalar_one()


def finished_studies(session: Session, after_id: int, limit: int) -> list[StudyRow]:
    """The next finished studies, in the order of their numbers.

    A study that is not finished is decided again by the dispatcher; so is one that waits for a silent listener.
    """
    rows = session.execute(
        select(Study.id, Study.study_uid, Study.side)
        .where(
            Study.id > after_id,
            Study.state.in_(TERMINAL_STATES),
            Study.merged_into_id.is_(None),
            Study.flags.not_like(f"%{Reason.LISTENER_SILENT}%"),
        )
        .order_by(Study.id)
        .limit(limit)
    ).all()
    return [StudyRow(*row) for row in rows]


def is_stale(session: Session, study_id: int) -> bool:
    """Whether the stored answer of a study differs from the rule's; nothing is changed."""
    if session.execute(select(Study.id).where(Study.id == study_id).with_for_update(key_share=True)).first() is None:
        # A purge of records took it meanwhile.
        return False
    with session.begin_nested() as savepoint:
        before = _answer(session, study_id)
        _decide(session, study_id)
        after = _answer(session, study_id)
        savepoint.rollback()
    session.expire_all()
    return before != after


def refresh(session: Session, study_id: int) -> None:
    """Decide and store the answer of a study again."""
    _decide(session, study_id)


def _decide(session: Session, study_id: int) -> None:
    # As if no listener were silent: that doubt comes and goes, and the dispatcher follows it.
    recompute(session, study_id, Watermarks())


def _answer(session: Session, study_id: int) -> tuple[Any, ...]:
    return tuple(session.execute(select(*_ANSWER).where(Study.id == study_id)).one())


def unworked(session: Session, after_id: int, limit: int) -> list[Unworked]:
    """The next images that count and have neither a current result nor an open task, in the order of their numbers."""
    rows = session.execute(
        select(Image.id, Study.study_uid, Image.sop_uid)
        .join(Study, Study.id == Image.study_id)
        .where(Image.id > after_id, _is_unworked())
        .order_by(Image.id)
        .limit(limit)
    ).all()
    return [Unworked(*row) for row in rows]


def give_task(session: Session, image_id: int) -> bool:
    """Give an image a task; False where it needs none by now. Raises `NoActiveModel`."""
    study = lock_study_of_image(session, image_id)
    if session.scalar(select(Image.id).join(Study).where(Image.id == image_id, _is_unworked())) is None:
        return False
    add_live_task(session, study, image_id, f"fsck:{study.revision}")
    recompute(session, study.id)
    return True


def _is_unworked() -> ColumnElement[bool]:
    has_result = exists().where(Result.image_id == Image.id, Result.is_current).correlate(Image)
    return and_(Image.is_current, Study.merged_into_id.is_(None), ~is_withdrawn(), ~has_result, ~has_open_task())
