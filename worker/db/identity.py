"""Whose film is it? The deciding logic, from facts alone: no SQL, no clock, no order of registration.

Objects of one SOP Instance UID in one study's row are versions of one film, and one of them counts. A film counts in
the row of the patient whom that version names; films of two patients under one Study Instance UID are two rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The pixels of an object without any: two such versions cannot differ in what a film shows.
NO_PIXELS = "none"


@dataclass(frozen=True, slots=True)
class Patient:
    """A Patient ID, as its hash ("" for none), and who issued it."""

    key: str = ""
    issuer: str = ""

    @classmethod
    def of(cls, patient_id: str, issuer: str) -> Patient:
        """The patient of a header or of a study's row."""
        return cls(hashlib.sha256(patient_id.encode()).hexdigest() if patient_id else "", issuer)

    def is_same(self, other: Patient) -> bool:
        """Whether both are known to be one patient: equal IDs, and issuers that do not contradict each other."""
        return self.key == other.key and (self.issuer == other.issuer or not (self.issuer and other.issuer))

    def may_be(self, other: Patient) -> bool:
        """Whether nothing says that they are two: an object without a Patient ID contradicts nobody."""
        return not self.key or not other.key or self.is_same(other)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object on record."""

    image_id: int
    study_id: int
    study_uid: str
    patient: Patient
    #: Digest of its pixels, `NO_PIXELS`, or "" where they are not known.
    pixels: str
    sha256: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Word:
    """What a source said: that it sent a version, first and last at these milliseconds."""

    sha256: str
    source: str
    first_at_ms: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class Row:
    """A study's row: its patient, and the patients whom its other films name."""

    study_id: int
    side: int
    patient: Patient
    others: tuple[Patient, ...] = ()


def counting(words: Sequence[Word]) -> str:
    """Which version of a film counts; the words are those of all its versions, in any order.

    Whoever brought the version that was seen first most recently has the say, since a source that corrected outranks
    the one it corrected: what that source sent last counts. So a stale retry by another source changes nothing, bytes
    never seen before always count, and v1, v2, v1 from one source ends at v1.
    """
    first: dict[str, Word] = {}
    for word in words:
        known = first.get(word.sha256)
        if known is None or (word.first_at_ms, word.source) < (known.first_at_ms, known.source):
            first[word.sha256] = word
    newest = max(first.values(), key=lambda word: (word.first_at_ms, word.sha256))
    own = [word for word in words if word.source == newest.source]
    return max(own, key=lambda word: (word.last_at_ms, word.first_at_ms, word.sha256)).sha256


def films_of(patient: Patient, pixels: str, rows: Sequence[Row], versions: Sequence[Version]) -> list[int]:
    """The rows whose films a new object is a version of, in order; none where it contradicts all that are known.

    `versions` are those of its SOP Instance UID in these rows. The same pixels are the same film, whomever they name: a
    correction. Other pixels need the same patient, and no Patient ID is not the same one, nor is one of unknown issuer
    the bridge between two. An object that is a version of two films shows that these are one.
    """
    holding = {version.study_id for version in versions}
    found = {row.study_id for row in rows if row.study_id in holding and patient.is_same(row.patient)}
    found |= {
        version.study_id
        for version in versions
        if (patient.key and patient == version.patient) or (pixels and version.pixels == pixels)
    }
    return sorted(found)


def row_of(patient: Patient, rows: Sequence[Row], *, is_known: bool) -> int | None:
    """The row a film belongs to by the patient it names; None where it needs one of its own.

    `is_known`: bytes of its SOP Instance UID are on record, so that having no Patient ID is no evidence.
    """
    ordered = sorted(rows, key=lambda row: row.side)
    exact = [row for row in ordered if row.patient == patient]
    same = [row for row in ordered if patient.is_same(row.patient)]
    open_to = [] if is_known else [row for row in ordered if patient.may_be(row.patient)]
    chosen = next(iter([*exact, *same, *open_to]), None)
    return chosen.study_id if chosen else None


def may_rename(patient: Patient, row: Row) -> bool:
    """Whether the row itself may take this patient: no other film in it names anyone else."""
    return all(patient.may_be(other) for other in row.others)


def is_withdrawn(claim: Sequence[tuple[str, Word]], held: Sequence[tuple[str, Word]]) -> bool:
    """Whether every source of the contradicting objects has since sent the same objects where they are held.

    Each word comes with its SOP Instance UID.
    """
    last: dict[tuple[str, str], int] = {}
    for sop_uid, word in held:
        last[sop_uid, word.source] = max(word.last_at_ms, last.get((sop_uid, word.source), word.last_at_ms))
    return bool(claim) and all(last.get((sop_uid, word.source), -1) > word.last_at_ms for sop_uid, word in claim)
