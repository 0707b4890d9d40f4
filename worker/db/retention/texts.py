"""Texts that people typed (why something was done) and that name a person who is erased: they are replaced.

The audit trail is not touched: its rows cannot be changed, and go by a floor of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from worker.db.schema.study import (
    Batch,
    Conflict,
    Correction,
    Destination,
    Inbox,
    ModelEvent,
    PatientMerge,
    Purge,
    RejectionNote,
    Study,
    Suspension,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.db.retention.people import Person

ERASED = "(erased: it named a patient)"
#: Every column that holds a reason which somebody typed.
TYPED: tuple[tuple[Any, str], ...] = (
    (Batch, "why"),
    (Conflict, "why"),
    (Destination, "why"),
    (Inbox, "retired_why"),
    (ModelEvent, "why"),
    (PatientMerge, "why"),
    (PatientMerge, "ended_why"),
    (Purge, "why"),
    (RejectionNote, "accepted_why"),
    (RejectionNote, "revoked_why"),
    (Suspension, "why"),
)
#: Shorter numbers stand in many texts that name nobody.
_SHORTEST = 3


@dataclass(frozen=True, slots=True)
class NamedIn:
    """A text that names the person."""

    table: Any
    column: str
    row_id: int


def words_of(person: Person, names: Sequence[str]) -> re.Pattern[str] | None:
    """What a text that names the person matches: a Patient ID of theirs, or family and given name beside one another."""
    wanted = [re.escape(patient_id) for patient_id in person.patient_ids if len(patient_id) >= _SHORTEST]
    for name in names:
        family, given = ([part.strip() for part in name.split("=")[0].split("^")] + ["", ""])[:2]
        if family and given:
            wanted += [rf"{re.escape(one)}[\s,^]+{re.escape(two)}" for one, two in ((family, given), (given, family))]
    return re.compile(rf"(?<!\w)(?:{'|'.join(wanted)})(?!\w)", re.IGNORECASE) if wanted else None


def named(session: Session, person: Person) -> list[NamedIn]:
    """The texts that name a person; asked before their studies are deleted, which know their names."""
    names = set(session.scalars(select(Study.patient_name).where(Study.id.in_(person.study_ids))))
    changed = select(Correction.old_value).where(
        Correction.study_id.in_(person.study_ids), Correction.column_name == "patient_name"
    )
    pattern = words_of(person, sorted(names | set(session.scalars(changed))))
    if pattern is None:
        return []
    return [
        NamedIn(table, column, row_id)
        for table, column in TYPED
        for row_id, text in session.execute(select(table.id, getattr(table, column)))
        if text and pattern.search(text)
    ]


def replace(session: Session, found: Sequence[NamedIn]) -> int:
    """Replace these texts, as far as their rows are there still; returns how many."""
    count = 0
    for each in found:
        changed = update(each.table).where(each.table.id == each.row_id).values({each.column: ERASED})
        done = session.execute(changed.returning(each.table.id).execution_options(synchronize_session=False))
        count += done.first() is not None
    return count
