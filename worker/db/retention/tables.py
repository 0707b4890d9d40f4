"""The rows that belong to a study: one list of tables, by which they are deleted and shown to the person.

A test compares the list with the foreign keys of the schema, so that a new table cannot be forgotten.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, CursorResult, Select, and_, delete, exists, or_, select, update

from worker.db.schema.study import (
    Assessment,
    Commitment,
    Conflict,
    Correction,
    Delivery,
    Image,
    Receipt,
    Refusal,
    RejectedObject,
    RejectionNote,
    Result,
    Study,
    StudyHeader,
    Task,
    Withdrawal,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

#: A table, and a condition over its rows.
Rows = tuple[Any, ColumnElement[bool]]
_UNSYNCED: dict[str, Any] = {"synchronize_session": False}


def of_images(images: Select[Any]) -> list[Rows]:
    """Each table that names images, with the condition for the rows that name these; a row comes before what it names."""
    notes = select(RejectionNote.id).where(RejectionNote.image_id.in_(images))
    objects = select(RejectedObject.id).where(RejectedObject.note_id.in_(notes))
    return [
        (Withdrawal, or_(Withdrawal.image_id.in_(images), Withdrawal.rejected_object_id.in_(objects))),
        (RejectedObject, RejectedObject.note_id.in_(notes)),
        (RejectionNote, RejectionNote.image_id.in_(images)),
        (Commitment, Commitment.image_id.in_(images)),
        (Receipt, Receipt.image_id.in_(images)),
        (Result, Result.image_id.in_(images)),
        (Task, Task.image_id.in_(images)),
    ]


def of_studies(study_ids: Sequence[int]) -> list[Rows]:
    """Each table that names studies or their images, the studies last."""
    return [
        *of_images(images_of(study_ids)),
        (Correction, Correction.study_id.in_(study_ids)),
        (Assessment, Assessment.study_id.in_(study_ids)),
        (Delivery, Delivery.study_id.in_(study_ids)),
        (StudyHeader, StudyHeader.study_id.in_(study_ids)),
        (Conflict, or_(Conflict.held_study_id.in_(study_ids), Conflict.claim_study_id.in_(study_ids))),
        (Image, Image.study_id.in_(study_ids)),
        (Study, Study.id.in_(study_ids)),
    ]


def images_of(study_ids: Sequence[int]) -> Select[Any]:
    """The images of studies."""
    return select(Image.id).where(Image.study_id.in_(study_ids))


def delete_studies(session: Session, study_ids: Sequence[int]) -> dict[str, int]:
    """Delete every row that belongs to these studies; returns how many of each table.

    The caller holds the locks of the studies. Rows of others that name them forget them: a worker its last task, a
    correction of another study the version that brought it, a result the one that it repeats.
    """
    uids = session.scalars(select(Study.study_uid).where(Study.id.in_(study_ids)).distinct()).all()
    tasks = select(Task.id).where(Task.image_id.in_(images_of(study_ids)))
    forget = (
        update(Worker).where(Worker.task_id.in_(tasks)).values(task_id=None),
        update(Correction)
        .where(Correction.image_id.in_(images_of(study_ids)), Correction.study_id.not_in(study_ids))
        .values(image_id=None),
        update(Result)
        .where(
            Result.taken_from_id.in_(select(Result.id).where(Result.image_id.in_(images_of(study_ids)))),
            Result.image_id.not_in(images_of(study_ids)),
        )
        .values(taken_from_id=None),
    )
    for statement in forget:
        session.execute(statement.execution_options(**_UNSYNCED))
    deleted: Counter[str] = Counter()
    # Refusals name a study by its UID alone, which another patient's row may have too.
    is_on_record = exists().where(Study.study_uid == Refusal.study_uid).correlate(Refusal)
    refusals = (Refusal, and_(Refusal.study_uid.in_(uids), ~is_on_record))
    for table, condition in (*of_studies(study_ids), refusals):
        done = session.execute(delete(table).where(condition).execution_options(**_UNSYNCED))
        assert isinstance(done, CursorResult)
        if done.rowcount:
            deleted[table.__tablename__] = done.rowcount
    session.expire_all()
    return dict(deleted)
