"""Patients whom merges made one person: the rule, pure, and the relation as SQL has it.

A merge says that films which name the old Patient ID are of the patient with the new one. Facts on record keep the
patient that an object names; who that is now is asked here. So a merge and its end change what follows from the facts,
and never the facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, or_, select

from worker.db.identity.rules import Patient
from worker.db.schema.sql import table_of
from worker.db.schema.study import PatientMerge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

#: Advisory lock of PostgreSQL: a registration shares it, a merge has it alone.
_LOCK_KEY = 0x41757364


@dataclass(frozen=True, slots=True)
class Link:
    """That the films of one patient are another one's; without issuer it holds whatever the issuer of the film."""

    old: Patient
    new: Patient


def successor(patient: Patient, links: Sequence[Link]) -> Patient | None:
    """The patient that one merge makes of another; None where none applies. `links`: those of its Patient ID.

    A merge that names the issuer of the film counts before one without issuer. A film without issuer follows a merge
    that names one only where that is the only merge of this ID.
    """
    if not patient.key or not links:
        return None
    exact = [link for link in links if link.old.issuer == patient.issuer]
    wide = [link for link in links if not link.old.issuer]
    only = list(links) if not patient.issuer and len(links) == 1 else []
    for link in [*exact, *wide, *only]:
        return Patient(link.new.key, link.new.issuer or patient.issuer)
    return None


def survivor(patient: Patient, links: Mapping[str, Sequence[Link]]) -> Patient:
    """The patient at the end of all merges. `links` by the key of their old Patient ID."""
    seen = [patient]
    while (found := successor(seen[-1], links.get(seen[-1].key, ()))) is not None:
        if found in seen:
            # Merges that go round are refused; if they are on record all the same, all their patients are one.
            return min(seen[seen.index(found) :], key=lambda one: (one.key, one.issuer))
        seen.append(found)
    return seen[-1]


def goes_round(links: Iterable[Link]) -> bool:
    """Whether a patient would become itself by these merges."""
    all_links = list(links)
    by_key: dict[str, list[Link]] = {}
    for link in all_links:
        by_key.setdefault(link.old.key, []).append(link)
    ends = [end for link in all_links for end in (link.old, link.new)]
    for key in {end.key for end in ends}:
        for issuer in {"", *(end.issuer for end in ends)}:
            seen = [Patient(key, issuer)]
            while (found := successor(seen[-1], by_key.get(seen[-1].key, ()))) is not None:
                if found in seen:
                    return True
                seen.append(found)
    return False


class Aliases:
    """The merges in force, read as far as they are asked for; valid within one transaction."""

    def __init__(self, session: Session, *, is_empty: bool | None = None) -> None:
        self._session = session
        self._is_empty = is_empty
        self._links: dict[str, list[Link]] = {}
        self._concerned: dict[str, bool] = {}
        self._texts: dict[str, str] = {}

    def ask(self, patients: Iterable[Patient]) -> None:
        """Read the merges that name the IDs of these patients, by one statement."""
        keys = sorted({patient.key for patient in patients if patient.key} - self._concerned.keys())
        if not keys or self._has_none():
            return
        rows = in_force(self._session, keys)
        for key in keys:
            self._take(key, [row for row in rows if key in (row.old_key, row.new_key)])

    def of(self, patient: Patient) -> Patient:
        """Who a named patient is now."""
        if not patient.key or self._has_none():
            return patient
        self._read(patient.key)
        found = survivor(patient, self._links)
        while self._read(found.key):
            found = survivor(patient, self._links)
        return found

    def concerns(self, patient: Patient) -> bool:
        """Whether a merge in force names the ID of this patient, as the old or the new one."""
        if not patient.key or self._has_none():
            return False
        self._read(patient.key)
        return self._concerned[patient.key]

    def text_of(self, key: str) -> str | None:
        """The Patient ID behind a key, if a merge names it, in force or ended."""
        if key not in self._texts:
            named = select(PatientMerge).where(or_(PatientMerge.old_key == key, PatientMerge.new_key == key)).limit(1)
            found = self._session.scalar(named)
            if found is None:
                return None
            self._texts[key] = found.old_patient_id if found.old_key == key else found.new_patient_id
        return self._texts[key]

    def _has_none(self) -> bool:
        if self._is_empty is None:
            self._is_empty = not self._session.execute(_ANY).scalar_one()
        return self._is_empty

    def _read(self, key: str) -> bool:
        """Read the merges that name an ID; False where that was done before."""
        if key in self._concerned:
            return False
        self._take(key, in_force(self._session, [key]))
        return True

    def _take(self, key: str, rows: Sequence[PatientMerge]) -> None:
        self._concerned[key] = bool(rows)
        self._links[key] = [link_of(row) for row in rows if row.old_key == key]
        for row in rows:
            self._texts |= {row.old_key: row.old_patient_id, row.new_key: row.new_patient_id}


def has_merges() -> ColumnElement[bool]:
    """SQL: whether any merge is in force."""
    merge = table_of(PatientMerge).c
    return select(merge.id).where(merge.ended_at.is_(None)).exists()


# Built once: each film executes it.
_ANY = select(has_merges())


def surviving_id(session: Session, patient_id: str) -> str:
    """The Patient ID that merges let survive of one; itself where there is no merge, or several by issuer."""
    patient, aliases = Patient.of(patient_id, ""), Aliases(session)
    found = aliases.of(patient)
    return patient_id if found == patient else aliases.text_of(found.key) or patient_id


def merged_ids(session: Session, key: str) -> tuple[str, ...]:
    """The Patient IDs that merges in force, over any number of steps, made those of the patient with this key."""
    aliases = Aliases(session)
    found = {
        row.old_patient_id for row in connected(session, key) if aliases.of(link_of(row).old).key == key != row.old_key
    }
    return tuple(sorted(found))


def link_of(row: PatientMerge) -> Link:
    """A merge as the rule takes it."""
    return Link(Patient(row.old_key, row.old_issuer), Patient(row.new_key, row.new_issuer))


def in_force(session: Session, keys: Collection[str]) -> Sequence[PatientMerge]:
    """The merges in force that name one of these IDs, as the old or the new one."""
    named = or_(PatientMerge.old_key.in_(keys), PatientMerge.new_key.in_(keys))
    return session.scalars(
        select(PatientMerge).where(PatientMerge.ended_at.is_(None), named).order_by(PatientMerge.id)
    ).all()


def connected(session: Session, key: str) -> list[PatientMerge]:
    """All merges in force that are connected with an ID, over any number of others."""
    found: dict[int, PatientMerge] = {}
    new, known = {key}, set[str]()
    while new:
        rows = in_force(session, sorted(new))
        known |= new
        found |= {row.id: row for row in rows}
        new = {end for row in rows for end in (row.old_key, row.new_key)} - known
    return list(found.values())


def shared_lock() -> ColumnElement[None]:
    """SQL of PostgreSQL: merges wait until the transaction that selects this ends; SQLite has one writer at a time."""
    return func.pg_advisory_xact_lock_shared(_LOCK_KEY)


def hold_merges(session: Session) -> None:
    """Let registrations and other merges wait until the caller's transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY))).all()
