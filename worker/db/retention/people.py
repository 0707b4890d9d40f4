"""One person by Patient ID and issuer: what is held of them, for their own request (GDPR, articles 15, 17 and 20)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select

from worker.db.identity.aliases import merged_ids, surviving_id
from worker.db.identity.rules import Patient
from worker.db.retention.tables import of_images, of_studies
from worker.db.schema.sql import chunks
from worker.db.schema.study import Delivery, Destination, Image, PatientMerge, Refusal, Study
from worker.db.schema.types import Base
from worker.db.schema.views import AUDIT, Row
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Person:
    """A person, and the rows of the database that name them."""

    patient_id: str
    #: The issuers under which studies name them; one that is not empty at most.
    issuers: tuple[str, ...]
    #: The Patient IDs that merges in force made theirs.
    former_ids: tuple[str, ...] = ()
    #: Their studies, merged rows included.
    study_ids: tuple[int, ...] = ()
    study_uids: tuple[str, ...] = ()
    #: Images that name them and stand in the study of another person.
    elsewhere: tuple[int, ...] = ()
    #: The studies in which those stand.
    elsewhere_uids: tuple[str, ...] = field(default=())
    #: Whether the database knows this Patient ID of one issuer alone, so that its digest names this person.
    is_only: bool = True

    @property
    def key(self) -> str:
        """SHA-256 of the Patient ID, as in `image.patient_key` and in the audit trail."""
        return Patient.of(self.patient_id, "").key

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """Every Patient ID of theirs, the one that survives first."""
        return (self.patient_id, *self.former_ids)

    @property
    def keys(self) -> tuple[str, ...]:
        """The digests of all of them."""
        return _keys(self.patient_ids)

    def is_named_by(self, patient_id: str, issuer: str) -> bool:
        """Whether a header names this person; a former ID does with any issuer."""
        if patient_id != self.patient_id:
            return patient_id in self.former_ids
        return issuer in self.issuers or (self.is_only and not (issuer and any(self.issuers)))


def find(session: Session, patient_id: str, issuer: str | None = None) -> Person:
    """Find a person by their Patient ID; raises `UsageError` where several issuers gave this ID and none is named."""
    if not patient_id:
        msg = "give a Patient ID; studies without one go by `auscult purge --records --study`"
        raise UsageError(msg)
    # Merged IDs are one person's, under the ID that survives.
    patient_id = surviving_id(session, patient_id)
    key = Patient.of(patient_id, "").key
    former_ids = merged_ids(session, key)
    known = {
        *session.scalars(select(Study.issuer_of_patient_id).where(Study.patient_id == patient_id).distinct()),
        *session.scalars(select(Image.issuer_of_patient_id).where(Image.patient_key == key).distinct()),
    }
    issuers = _issuers(known, issuer)
    own = and_(Study.patient_id == patient_id, Study.issuer_of_patient_id.in_(issuers))
    rows = session.execute(select(Study.id, Study.study_uid).where(own).order_by(Study.id)).all()
    merged = _merged_into(session, [row[0] for row in rows])
    study_ids = tuple(sorted({*(row[0] for row in rows), *merged}))
    former = [Patient.of(former_id, "").key for former_id in former_ids]
    named = or_(and_(Image.patient_key == key, Image.issuer_of_patient_id.in_(issuers)), Image.patient_key.in_(former))
    others = session.execute(
        select(Image.id, Study.id, Study.study_uid)
        .join(Study, Study.id == Image.study_id)
        .where(named)
        .order_by(Image.id)
    ).all()
    elsewhere = [(image_id, uid) for image_id, study_id, uid in others if study_id not in study_ids]
    return Person(
        patient_id,
        issuers,
        former_ids,
        study_ids,
        tuple(dict.fromkeys(row[1] for row in rows)),
        tuple(image_id for image_id, _ in elsewhere),
        tuple(dict.fromkeys(uid for _, uid in elsewhere)),
        is_only=len(known - {""}) <= 1,
    )


def _keys(patient_ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(Patient.of(patient_id, "").key for patient_id in patient_ids)


def _issuers(known: set[str], wanted: str | None) -> tuple[str, ...]:
    """The issuers that are one: an object without an issuer contradicts none, where there is one only."""
    named = sorted(known - {""})
    if wanted is None:
        if len(named) > 1:
            msg = f"several issuers gave this Patient ID: name one by --issuer ({', '.join(named)}; '' for none)"
            raise UsageError(msg)
        return ("", *named)
    if len(named) <= 1 and wanted in {"", *named}:
        return ("", *named)
    return (wanted,)


def _merged_into(session: Session, study_ids: Sequence[int]) -> set[int]:
    """The rows that were merged into these: they are of the same person under another number."""
    found: set[int] = set()
    new = set(study_ids)
    while new:
        new = set(session.scalars(select(Study.id).where(Study.merged_into_id.in_(new)))) - found
        found |= new
    return found


def rows_about(session: Session, person: Person) -> dict[str, list[Row]]:
    """Every row about a person, by table; of an image in another person's study that of the image and its work alone."""
    found: dict[str, list[Row]] = {}

    def add(table: Any, condition: Any) -> None:
        rows = session.execute(select(*table.__table__.columns).where(condition).order_by(table.id)).mappings()
        into = found.setdefault(table.__tablename__, [])
        known = {row["id"] for row in into}
        into += [dict(row) for row in rows if row["id"] not in known]

    for some in chunks(person.study_ids):
        for table, condition in reversed(of_studies(some)):
            add(table, condition)
    for some in chunks(person.elsewhere):
        add(Image, Image.id.in_(some))
        for table, condition in reversed(of_images(select(Image.id).where(Image.id.in_(some)))):
            add(table, condition)
    for uids in chunks(person.study_uids):
        add(Refusal, Refusal.study_uid.in_(uids))
    add(PatientMerge, _merges_of(person))
    return {name: rows for name, rows in found.items() if rows or name != PatientMerge.__tablename__}


def recipients(session: Session, person: Person) -> list[Row]:
    """The destinations for which something about a person has left, removed ones too, and when (GDPR, articles 15 and 19)."""
    found = session.execute(
        select(
            Destination.name,
            Destination.kind,
            func.count().label("answers"),
            func.min(Delivery.begun_at).label("first_at"),
            func.max(Delivery.begun_at).label("last_at"),
        )
        .join(Delivery, Delivery.destination_id == Destination.id)
        .where(Delivery.study_id.in_(person.study_ids), Delivery.begun_at.is_not(None))
        .group_by(Destination.id, Destination.name, Destination.kind)
        .order_by(Destination.name, Destination.id)
    )
    return [dict(row) for row in found.mappings()]


def forget_merges(session: Session, person: Person) -> None:
    """Delete the merges that name a person of whom no row is left."""
    session.execute(delete(PatientMerge).where(_merges_of(person)).execution_options(synchronize_session=False))


def _merges_of(person: Person) -> ColumnElement[bool]:
    return or_(PatientMerge.old_key.in_(person.keys), PatientMerge.new_key.in_(person.keys))


def explained(tables: Sequence[str]) -> dict[str, dict[str, str]]:
    """What each of these tables ("") and each of its columns holds, in the words of the schema."""
    found = {name: Base.metadata.tables[name] for name in tables}
    return {
        name: {"": table.comment or ""} | {column.name: column.comment or "" for column in table.columns}
        for name, table in found.items()
    }


def events_about(session: Session, person: Person) -> list[Row]:
    """The audit events about a person, the oldest first."""
    sides = session.execute(select(Study.study_uid, Study.side).where(Study.id.in_(person.study_ids))).all()
    of_study = [
        and_(AUDIT.c.study_uid == uid, AUDIT.c.side == side, AUDIT.c.patient_key.in_(("", *person.keys)))
        for uid, side in sides
    ]
    of_person = [AUDIT.c.patient_key.in_(person.keys)] if person.is_only else []
    found: dict[int, Row] = {}
    for some in chunks([*of_person, *of_study]):
        for row in session.execute(select(AUDIT).where(or_(*some))).mappings():
            found[row["event_id"]] = dict(row)
    return [found[number] for number in sorted(found)]
