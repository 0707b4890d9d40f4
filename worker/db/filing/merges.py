"""Patient merges (HL7 ADT A40) and changes of a Patient ID (A47), and their end: two IDs are one person's.

`merge_patients` is what a command calls and what a listener of HL7 messages would call. A message may come before the
first film of either ID, twice, and in any order with others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.db.answers.recompute import recompute
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record, storable
from worker.db.identity.aliases import Aliases, Link, connected, goes_round, hold_merges, in_force, link_of
from worker.db.identity.headers import forget_patient
from worker.db.identity.regroup import regroup
from worker.db.identity.rows import Cause
from worker.db.identity.rules import Patient
from worker.db.identity.withdrawals import meet, partners_of, studies_of
from worker.db.schema.sql import chunks, fitted
from worker.db.schema.states import MergeKind
from worker.db.schema.study import Image, PatientMerge, RejectedObject, Study
from worker.db.schema.types import now_utc
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class PatientName:
    """A Patient ID as text, and its issuer; without issuer it stands for this ID whatever the issuer."""

    patient_id: str
    issuer: str = ""

    @property
    def patient(self) -> Patient:
        """As the rules take it."""
        return Patient.of(self.patient_id, self.issuer)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge or its end did: its number, whether it was new, and how many studies it concerned."""

    number: int
    is_new: bool
    studies: int


def merge_patients(  # noqa: PLR0913 - both IDs, and for the record who, why and what
    session: Session,
    old: PatientName,
    new: PatientName,
    actor: Actor,
    why: str,
    *,
    kind: MergeKind = MergeKind.MERGE,
    restores: bool = False,
) -> Merged:
    """Let all films that name the old ID be of the patient with the new one, in the caller's transaction.

    Both IDs may be unknown. The same merge again changes nothing. `restores`: whether a withdrawn film that came again
    counts again, by the settings.

    Raises
    ------
    UsageError
        If an ID is missing or too long, both are the same, the old one is merged into another one, or a patient would
        become itself.
    """
    old, new = _checked(old, "old"), _checked(new, "new")
    if old.patient.is_same(new.patient):
        msg = "the old and the new Patient ID are the same: there is nothing to merge"
        raise UsageError(msg)
    hold_merges(session)
    known = _in_force(session, old)
    if known is not None:
        if link_of(known).new == new.patient:
            return Merged(known.id, is_new=False, studies=0)
        msg = "the old Patient ID is merged into another one already: end that merge first ('auscult patient unmerge')"
        raise UsageError(msg)
    there = {row.id: row for key in (old.patient.key, new.patient.key) for row in connected(session, key)}
    if goes_round([*map(link_of, there.values()), Link(old.patient, new.patient)]):
        msg = "the new Patient ID is merged into the old one, directly or over others: a patient would become itself"
        raise UsageError(msg)
    values = {
        "kind": kind,
        "old_patient_id": old.patient_id,
        "old_issuer": old.issuer,
        "new_patient_id": new.patient_id,
        "new_issuer": new.issuer,
        "old_key": old.patient.key,
        "new_key": new.patient.key,
        "at": now_utc(),
    }
    values |= fitted(PatientMerge, {"who": storable(actor.name), "why": storable(why)})
    row = PatientMerge(**values)
    session.add(row)
    session.flush()
    studies = _follow(session, row, actor, why, restores=restores)
    _record(session, Act.PATIENT_MERGED, row, actor, studies)
    return Merged(row.id, is_new=True, studies=studies)


def unmerge_patient(session: Session, old: PatientName, actor: Actor, why: str, *, restores: bool = False) -> Merged:
    """End the merge of an ID: films that name it are of their own patient again, in the caller's transaction.

    Raises
    ------
    UsageError
        If this ID is not merged.
    """
    old = _checked(old, "old")
    hold_merges(session)
    row = _in_force(session, old)
    if row is None:
        msg = "this Patient ID is not merged into another one, or under another issuer (--issuer)"
        raise UsageError(msg)
    row.ended_at = session.execute(select(now_utc())).scalar_one()
    kept = fitted(PatientMerge, {"ended_by": storable(actor.name), "ended_why": storable(why)})
    row.ended_by, row.ended_why = kept["ended_by"], kept["ended_why"]
    session.flush()
    studies = _follow(session, row, actor, why, restores=restores)
    aliases = Aliases(session)
    for key in (row.old_key, row.new_key):
        if not aliases.concerns(Patient(key)):
            forget_patient(session, key)
    _record(session, Act.PATIENT_UNMERGED, row, actor, studies)
    return Merged(row.id, is_new=True, studies=studies)


def _checked(name: PatientName, which: str) -> PatientName:
    """The ID as columns hold it; messages must not quote it."""
    kept = PatientName(storable(name.patient_id).strip(), storable(name.issuer).strip())
    columns = {"patient_id": kept.patient_id, "issuer_of_patient_id": kept.issuer}
    if not kept.patient_id:
        msg = f"the {which} Patient ID is empty"
        raise UsageError(msg)
    if fitted(Study, columns) != columns:
        msg = f"the {which} Patient ID or its issuer is longer than the columns of the database"
        raise UsageError(msg)
    return kept


def _in_force(session: Session, old: PatientName) -> PatientMerge | None:
    rows = in_force(session, [old.patient.key])
    return next((row for row in rows if (row.old_key, row.old_issuer) == (old.patient.key, old.issuer)), None)


def _follow(session: Session, row: PatientMerge, actor: Actor, why: str, *, restores: bool) -> int:
    """Let rows, conflicts, rejection notes and answers follow; returns the number of studies."""
    study_uids = _concerned(session, _upstream(session, row))
    _lock(session, study_uids)
    aliases, cause = Aliases(session), Cause(actor.name, why)
    changed: set[int] = set()
    sop_uids: set[str] = set()
    for study_uid in study_uids:
        done = regroup(session, study_uid, aliases, cause)
        changed |= done.rows
        sop_uids |= done.sop_uids
    images = meet(session, _rejected(session, sop_uids), restores=restores)
    changed |= studies_of(session, images) if images else set()
    for study_id in sorted(changed | partners_of(session, changed)):
        recompute(session, study_id)
    return len(study_uids)


def _upstream(session: Session, row: PatientMerge) -> dict[str, str]:
    """The IDs whose films a merge moves, by their keys: the old one, and those that are merged into it."""
    found = {row.old_key: row.old_patient_id}
    links = connected(session, row.old_key)
    while more := [link for link in links if link.new_key in found and link.old_key not in found]:
        found |= {link.old_key: link.old_patient_id for link in more}
    return found


def _concerned(session: Session, names: dict[str, str]) -> list[str]:
    """The studies that hold an object or a row of one of these patients."""
    of_films = select(Study.study_uid).join(Image, Image.study_id == Study.id)
    found: set[str] = set()
    for some in chunks(sorted(names)):
        found |= set(session.scalars(of_films.where(Image.patient_key.in_(some), Image.patient_key != "")))
    for some in chunks(sorted(names.values())):
        found |= set(session.scalars(select(Study.study_uid).where(Study.patient_id.in_(some))))
    return sorted(found)


def _lock(session: Session, study_uids: Collection[str]) -> None:
    """Lock the rows of these studies, and those whose answers depend on them, in the order of ids."""
    ids: set[int] = set()
    for some in chunks(sorted(study_uids)):
        ids |= set(session.scalars(select(Study.id).where(Study.study_uid.in_(some))))
    for part in chunks(sorted(ids | partners_of(session, ids))):
        rows = select(Study.id).where(Study.id.in_(part)).order_by(Study.id).with_for_update(key_share=True)
        session.execute(rows).all()


def _rejected(session: Session, sop_uids: Iterable[str]) -> list[str]:
    """Those of these objects that a rejection note names."""
    found: set[str] = set()
    for some in chunks(sorted(sop_uids)):
        found |= set(session.scalars(select(RejectedObject.sop_uid).where(RejectedObject.sop_uid.in_(some))))
    return sorted(found)


def _record(session: Session, act: Act, row: PatientMerge, actor: Actor, studies: int) -> None:
    detail = {"merge": row.id, "kind": row.kind.value, "new_patient_key": row.new_key, "studies": studies}
    record(session, act, actor, patient_key=row.old_key, detail=detail)
