"""What the films of each merged patient say of patient and study, kept beside the row that they share.

Films of patients whom a merge made one are in one row, whose columns follow the newest of them. When the merge ends,
each patient has a row again, with the columns that its own films gave it: these are kept here, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from worker.db.identity.rows import STUDY_COLUMNS, patient_of
from worker.db.identity.rules import Patient
from worker.db.schema.sql import fitted
from worker.db.schema.study import Image, Study, StudyHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.db.identity.arrivals import Arrival


def keep_header(session: Session, study: Study, arrival: Arrival, image_id: int) -> None:
    """Keep what an object says, if a merge concerns its patient; before the columns of its row follow it."""
    named = arrival.named
    if not arrival.aliases.concerns(named):
        return
    of_study = select(StudyHeader).join(Study, Study.id == StudyHeader.study_id)
    kept = session.scalars(of_study.where(Study.study_uid == study.study_uid)).all()
    if not any(header.study_id == study.id for header in kept) and _has_other_films(session, study.id, image_id):
        # So far the row had the films of one patient, and its columns are theirs.
        first = keep_row(session, study)
        kept = [*kept, first]
    values = fitted(StudyHeader, {name: getattr(arrival.facts, name) for name in STUDY_COLUMNS})
    known = next((header for header in kept if named_by(header) == named), None)
    if known is None:
        row = {"study_id": study.id, "patient_key": named.key, "columns_at_ms": arrival.arrived_ms}
        session.execute(insert(StudyHeader).values(values | row))
        return
    is_newer = arrival.arrived_ms >= known.columns_at_ms
    for name, new in values.items():
        if new and (is_newer or not getattr(known, name)):
            setattr(known, name, new)
    known.columns_at_ms = max(known.columns_at_ms, arrival.arrived_ms)
    session.flush()


def keep_row(session: Session, study: Study) -> StudyHeader:
    """Keep the columns of a row as those of its patient."""
    patient = patient_of(study)
    values: dict[str, Any] = {name: getattr(study, name) for name in STUDY_COLUMNS}
    row = {"study_id": study.id, "patient_key": patient.key, "columns_at_ms": study.columns_at_ms}
    return session.execute(insert(StudyHeader).values(values | row).returning(StudyHeader)).scalar_one()


def headers_in(session: Session, study_ids: Sequence[int]) -> list[StudyHeader]:
    """What is kept of these rows, in the order in which it was first kept."""
    kept = select(StudyHeader).where(StudyHeader.study_id.in_(study_ids)).order_by(StudyHeader.id)
    return list(session.scalars(kept.execution_options(populate_existing=True)))


def forget(session: Session, header: StudyHeader) -> None:
    """Delete what no merge needs any more."""
    session.execute(delete(StudyHeader).where(StudyHeader.id == header.id))


def forget_patient(session: Session, key: str) -> None:
    """Delete what is kept of a patient whom no merge concerns any more; rows of one patient have the same columns."""
    session.execute(delete(StudyHeader).where(StudyHeader.patient_key == key))


def named_by(header: StudyHeader) -> Patient:
    """The patient as the films name them."""
    return Patient(header.patient_key, header.issuer_of_patient_id)


def _has_other_films(session: Session, study_id: int, image_id: int) -> bool:
    other = select(Image.id).where(Image.study_id == study_id, Image.id != image_id)
    return session.execute(other.limit(1)).first() is not None
