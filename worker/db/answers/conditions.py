"""Conditions in SQL on which answers depend: whether work is open, and whether a PNEUMONIA counts or counted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import aliased

from model.labels import Label
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.schema.states import FILM, OPEN_TASK_STATES, NoteEffect
from worker.db.schema.study import Batch, Correction, Image, Result, Task


def has_open_task() -> ColumnElement[bool]:
    """SQL: whether live work on an image is still to be done on which an answer depends."""
    return and_(has_live_task(), ~is_withdrawn(effects=(NoteEffect.WITHDRAWS,)))


def has_live_task() -> ColumnElement[bool]:
    """SQL: whether live work on an image is still to be done."""
    task = aliased(Task)
    is_live = task.batch_id.is_(None)
    return exists().where(task.image_id == Image.id, is_live, task.state.in_(OPEN_TASK_STATES)).correlate(Image)


def was_pneumonia(study_id: Any) -> ColumnElement[bool]:
    """SQL: whether a result that counts or counted says PNEUMONIA, of any version of a film that is or was in the row."""
    counts = or_(Result.batch_id.is_(None), Result.batch_id.in_(select(Batch.id).where(~Batch.keep_current)))
    positive = select(Result.id).where(Result.label == Label.PNEUMONIA, counts)
    # Asked apart: with both in one condition PostgreSQL reads every image.
    there = positive.join(Image, Image.id == Result.image_id).where(Image.study_id == study_id)
    gone = positive.join(Correction, Correction.image_id == Result.image_id).where(
        Correction.study_id == study_id, Correction.column_name == FILM
    )
    return or_(there.exists(), gone.exists())
