"""The studies and patients of an act on several: which ones an event names, beside the one in its own row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, and_, column, func, insert, literal, select, table, tuple_

from worker.db.schema.audit import AuditObject
from worker.db.schema.sql import chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from worker.db.schema.views import Row

# By their names alone: to map all tables takes a fifth of the time of a command that shows a view.
_STUDY = table("study", *map(column, ("id", "study_uid", "side", "patient_id", "issuer_of_patient_id")))
_IMAGE = table("image", *map(column, ("id", "study_id", "patient_key")), column("is_current", Boolean))
_TASK = table("task", *map(column, ("image_id", "batch_id")))


def name_studies(session: Session, event_id: int, studies: Iterable[tuple[str, int]]) -> None:
    """Let an event name these studies, by Study Instance UID and side, with their patients; in its transaction."""
    for some in chunks(list(dict.fromkeys(studies))):
        _name_where(session, event_id, tuple_(_STUDY.c.study_uid, _STUDY.c.side).in_(some))


def _name_where(session: Session, event_id: int, condition: ColumnElement[bool]) -> None:
    """Let an event name the studies under a condition over `study`, each with the patients of its current images."""
    patient = func.coalesce(_IMAGE.c.patient_key, "")
    named = (
        select(literal(event_id), _STUDY.c.study_uid, _STUDY.c.side, patient)
        .outerjoin(_IMAGE, and_(_IMAGE.c.study_id == _STUDY.c.id, _IMAGE.c.is_current))
        .where(condition)
        .distinct()
    )
    columns = ["event_id", "study_uid", "side", "patient_key"]
    session.execute(insert(AuditObject).from_select(columns, named))


def name_batch(session: Session, event_id: int, batch_id: int, study_uids: Sequence[str] | None = None) -> None:
    """Let an event name the studies of a batch, by default all; `study_uids`: those with these Study Instance UIDs."""
    of_batch = _STUDY.c.id.in_(
        select(_IMAGE.c.study_id).join(_TASK, _TASK.c.image_id == _IMAGE.c.id).where(_TASK.c.batch_id == batch_id)
    )
    if study_uids is None:
        _name_where(session, event_id, of_batch)
        return
    for some in chunks(list(dict.fromkeys(study_uids))):
        _name_where(session, event_id, of_batch & _STUDY.c.study_uid.in_(some))


def name_images(session: Session, event_id: int, image_ids: Sequence[int]) -> None:
    """Let an event name the studies of these images."""
    studies: set[int] = set()
    for some in chunks(image_ids):
        studies |= set(session.scalars(select(_IMAGE.c.study_id).where(_IMAGE.c.id.in_(some))))
    for part in chunks(sorted(studies)):
        _name_where(session, event_id, _STUDY.c.id.in_(part))


def patient_of(session: Session, study_uid: str, side: int) -> str:
    """The patient of a study as events name it; "" where it has none, or more than one."""
    current = (_STUDY.c.study_uid == study_uid, _STUDY.c.side == side, _IMAGE.c.is_current)
    found = session.scalars(
        select(_IMAGE.c.patient_key).join(_STUDY, _STUDY.c.id == _IMAGE.c.study_id).where(*current).distinct()
    )
    keys = [key for key in found if key]
    return keys[0] if len(keys) == 1 else ""


def named_by(session: Session, event_ids: Sequence[int]) -> dict[int, list[Row]]:
    """What each of these events names beside the study in its own row, in the order in which it was written."""
    columns: tuple[Any, ...] = (
        AuditObject.study_uid,
        AuditObject.side,
        func.coalesce(_STUDY.c.patient_id, "").label("patient_id"),
        func.coalesce(_STUDY.c.issuer_of_patient_id, "").label("issuer_of_patient_id"),
        AuditObject.patient_key,
    )
    found: dict[int, list[Row]] = {}
    for some in chunks(event_ids):
        rows = session.execute(
            select(AuditObject.event_id, *columns)
            .outerjoin(_STUDY, and_(_STUDY.c.study_uid == AuditObject.study_uid, _STUDY.c.side == AuditObject.side))
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
