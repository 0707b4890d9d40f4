"""The studies and patients of an act on several: which ones an event names, beside the one in its own row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, literal, select, tuple_

from worker.db.schema.audit import AuditObject
from worker.db.schema.sql import chunks
from worker.db.schema.study import Image, Study, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from worker.db.schema.views import Row


def name_studies(session: Session, event_id: int, studies: Iterable[tuple[str, int]]) -> None:
    """Let an event name these studies, by Study Instance UID and side, with their patients; in its transaction."""
    for some in chunks(list(dict.fromkeys(studies))):
        name_where(session, event_id, tuple_(Study.study_uid, Study.side).in_(some))


def name_where(session: Session, event_id: int, condition: ColumnElement[bool]) -> None:
    """Let an event name the studies under a condition over `study`, each with the patients of its current images."""
    patient = func.coalesce(Image.patient_key, "")
    named = (
        select(literal(event_id), Study.study_uid, Study.side, patient)
        .outerjoin(Image, and_(Image.study_id == Study.id, Image.is_current))
        .where(condition)
        .distinct()
    )
    columns = ["event_id", "study_uid", "side", "patient_key"]
    session.execute(insert(AuditObject).from_select(columns, named))


def name_batch(session: Session, event_id: int, batch_id: int, study_uids: Sequence[str] | None = None) -> None:
    """Let an event name the studies of a batch, by default all; `study_uids`: those with these Study Instance UIDs."""
    of_batch = Study.id.in_(
        select(Image.study_id).join(Task, Task.image_id == Image.id).where(Task.batch_id == batch_id)
    )
    if study_uids is None:
        name_where(session, event_id, of_batch)
        return
    for some in chunks(list(dict.fromkeys(study_uids))):
        name_where(session, event_id, of_batch & Study.study_uid.in_(some))


def name_images(session: Session, event_id: int, image_ids: Sequence[int]) -> None:
    """Let an event name the studies of these images."""
    studies: set[int] = set()
    for some in chunks(image_ids):
        studies |= set(session.scalars(select(Image.study_id).where(Image.id.in_(some))))
    for part in chunks(sorted(studies)):
        name_where(session, event_id, Study.id.in_(part))


def patient_of(session: Session, study_uid: str, side: int) -> str:
    """The patient of a study as events name it; "" where it has none, or more than one."""
    current = (Study.study_uid == study_uid, Study.side == side, Image.is_current)
    found = session.scalars(
        select(Image.patient_key).join(Study, Study.id == Image.study_id).where(*current).distinct()
    )
    keys = [key for key in found if key]
    return keys[0] if len(keys) == 1 else ""


def named_by(session: Session, event_ids: Sequence[int]) -> dict[int, list[Row]]:
    """What each of these events names beside the study in its own row, in the order in which it was written."""
    columns: tuple[Any, ...] = (
        AuditObject.study_uid,
        AuditObject.side,
        func.coalesce(Study.patient_id, "").label("patient_id"),
        func.coalesce(Study.issuer_of_patient_id, "").label("issuer_of_patient_id"),
        AuditObject.patient_key,
    )
    found: dict[int, list[Row]] = {}
    for some in chunks(event_ids):
        rows = session.execute(
            select(AuditObject.event_id, *columns)
            .outerjoin(Study, and_(Study.study_uid == AuditObject.study_uid, Study.side == AuditObject.side))
            .where(AuditObject.event_id.in_(some))
            .order_by(AuditObject.id)
        ).mappings()
        for row in rows:
            found.setdefault(row["event_id"], []).append({name: row[name] for name in row if name != "event_id"})
    return found


def with_objects(session: Session, events: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The events, each with what it names beside its own study, as `objects`."""
    named = named_by(session, [event["event_id"] for event in events])
    return [{**event, "objects": named.get(event["event_id"], [])} for event in events]
