"""Films that failed are tried again because a person says so: new live tasks, whatever the attempts of the old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from worker.db.answers.recompute import lock_study
from worker.db.audit.codes import Act
from worker.db.audit.record import record
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.schema.study import Image, Study, Task
from worker.db.tasks.create import retry_failed
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.db.audit.record import Actor


def retry_study(session: Session, study_uid: str, actor: Actor, why: str) -> int:
    """Give each failed film of a study that counts a new live task, in the caller's transaction; returns how many.

    A film with an open task, a withdrawn one, and one that was judged or refused by the gate stay as they are.

    Raises
    ------
    UsageError
        If no study has this UID.
    NoActiveModel
        If no model scores films.
    """
    of_study = select(Study.id).where(Study.study_uid == study_uid, Study.merged_into_id.is_(None)).order_by(Study.id)
    study_ids = session.scalars(of_study).all()
    if not study_ids:
        msg = f"no study {study_uid} is on record"
        raise UsageError(msg)
    return sum(_retry(session, lock_study(session, study_id), actor, why) for study_id in study_ids)


def _retry(session: Session, study: Study, actor: Actor, why: str) -> int:
    films = session.scalars(
        select(Image.id).where(Image.study_id == study.id, Image.is_current, ~is_withdrawn()).order_by(Image.id)
    ).all()
    made = sum(_is_tried_again(session, study, image_id) for image_id in films)
    if made:
        detail = {"films": made, "why": why}
        record(session, Act.STUDY_RETRIED, actor, study_uid=study.study_uid, side=study.side, detail=detail)
    return made


def _is_tried_again(session: Session, study: Study, image_id: int) -> bool:
    # Each retry of a film has a number of its own, or the key of the one before would be found.
    tasks = session.execute(select(func.count()).where(Task.image_id == image_id)).scalar_one()
    return retry_failed(session, study, image_id, f"retry:{tasks}") is not None
