"""Corrections for people, from the public view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, or_, select, tuple_

from worker.db.schema.study import Study
from worker.db.schema.views import CORRECTIONS, Row
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ScalarSelect
    from sqlalchemy.orm import Session


def corrections(
    session: Session,
    *,
    study_uids: Sequence[str] = (),
    patient_ids: Sequence[str] = (),
    since: datetime | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Corrections and patient merges, the newest first, from behind the one of a number on.

    `study_uids`: of these studies, with the merges of their patients; `patient_ids`: of the studies of these patients,
    and those that name them as the old or new value. Raises `UsageError` where no correction has the number `after`.
    """
    view = CORRECTIONS.c
    rows = select(CORRECTIONS).order_by(view.at.desc(), view.correction_id.desc()).limit(limit)
    if after is not None:
        rows = rows.where(tuple_(view.at, view.correction_id) < tuple_(_moment_of(session, after), after))
    if since is not None:
        rows = rows.where(view.at >= since)
    names_patient = view.column_name == "patient_id"
    if study_uids:
        of_study = select(Study.patient_id).where(Study.study_uid.in_(study_uids))
        is_merge = and_(view.study_uid.is_(None), or_(view.old_value.in_(of_study), view.new_value.in_(of_study)))
        rows = rows.where(or_(view.study_uid.in_(study_uids), is_merge))
    if patient_ids:
        is_named = and_(names_patient, or_(view.old_value.in_(patient_ids), view.new_value.in_(patient_ids)))
        is_theirs = exists().where(
            Study.study_uid == view.study_uid, Study.side == view.side, Study.patient_id.in_(patient_ids)
        )
        rows = rows.where(or_(is_named, is_theirs))
    return [dict(row) for row in session.execute(rows).mappings()]


def _moment_of(session: Session, number: int) -> ScalarSelect[datetime]:
    # Compared by the database: on SQLite a moment is a text.
    moment = select(CORRECTIONS.c.at).where(CORRECTIONS.c.correction_id == number)
    if session.scalar(moment) is None:
        msg = f"--after takes the number of a correction, as the page before named it: none has {number}"
        raise UsageError(msg)
    return moment.scalar_subquery()
