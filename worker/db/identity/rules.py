"""Whose film is it? The rules as pure functions: no SQL, no clock, independent of the order of registration.

Objects of one SOP Instance UID in one row are versions of one film, and one version counts. The film counts in the row
of the patient whom that version names; films of two patients under one Study Instance UID are two rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Stands for the digest of pixels of an object without any: two such versions show the same.
NO_PIXELS = "none"


@dataclass(frozen=True, slots=True)
class Patient:
    """A Patient ID, as its SHA-256 ("" for none), and its issuer."""

    key: str = ""
    issuer: str = ""

    @classmethod
    def of(cls, patient_id: str, issuer: str) -> Patient:
        """The patient of a header or of a study's row."""
        return cls(hashlib.sha256(patient_id.encode()).hexdigest() if patient_id else "", issuer)

    def is_same(self, other: Patient) -> bool:
        """Whether both are one patient: equal IDs, and issuers that do not contradict each other."""
        return self.key == other.key and (self.issuer == other.issuer or not (self.issuer and other.issuer))

    def may_be(self, other: Patient) -> bool:
        """Whether both can be one patient: an object without a Patient ID contradicts none."""
        return not self.key or not other.key or self.is_same(other)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object on record."""

    image_id: int
    study_id: int
    study_uid: str
    patient: Patient
    #: Digest of its pixels, `NO_PIXELS`, or "" where it is not known.
    pixels: str
    sha256: str
    is_current: bool
    sop_uid: str = ""


@dataclass(frozen=True, slots=True)
class Transmission:
    """That a source sent a version, first and last at these ms of the database's clock."""

    sha256: str
    source: str
    first_at_ms: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class StudyRow:
    """The row of a study: its patient, and the patients whom its other films name."""

    study_id: int
    side: int
    patient: Patient
    others: tuple[Patient, ...] = ()


def counting(transmissions: Sequence[Transmission]) -> str:
    """Which version of a film counts, as its SHA-256; `transmissions` are those of all its versions, in any order.

    The source that sent the newest version (the one with the latest first arrival) decides, because a source that
    corrects outranks the one it corrects; what that source sent last counts. So a stale retry by another source changes
    nothing, new bytes always count, and v1, v2, v1 from one source ends at v1.
    """
    first: dict[str, Transmission] = {}
    for sent in transmissions:
        known = first.get(sent.sha256)
        if known is None or (sent.first_at_ms, sent.source) < (known.first_at_ms, known.source):
            first[sent.sha256] = sent
    newest = max(first.values(), key=lambda sent: (sent.first_at_ms, sent.sha256))
    own = [sent for sent in transmissions if sent.source == newest.source]
    return max(own, key=lambda sent: (sent.last_at_ms, sent.first_at_ms, sent.sha256)).sha256


def films_of(patient: Patient, pixels: str, rows: Sequence[StudyRow], versions: Sequence[Version]) -> list[int]:
    """The rows whose films a new object is a version of, in order; empty where it contradicts all of them.

    `versions` are those of its SOP Instance UID in these rows. The same pixels are the same film, whichever patient they
    name: that is a correction. Other pixels need the same patient. An object without a Patient ID names no patient, and
    an ID without issuer does not join two issuers. An object that is a version of two films makes them one.
    """
    holding = {version.study_id for version in versions}
    found = {row.study_id for row in rows if row.study_id in holding and patient.is_same(row.patient)}
    found |= {
        version.study_id
        for version in versions
        if (patient.key and patient == version.patient) or (pixels and version.pixels == pixels)
    }
    return sorted(found)


def joined(versions: Sequence[Version]) -> list[list[Version]]:
    """The versions of one SOP Instance UID in one study, by the films that they are: as `films_of` joins one by one."""
    films: list[list[Version]] = []
    for version in versions:
        same = [film for film in films if any(_is_one_film(version, other) for other in film)]
        films = [film for film in films if film not in same]
        films.append([*(other for film in same for other in film), version])
    return films


def _is_one_film(one: Version, other: Version) -> bool:
    if one.pixels and one.pixels == other.pixels:
        return True
    if one.patient.key and other.patient.key:
        return one.patient.is_same(other.patient)
    return not one.patient.key and not other.patient.key and one.study_id == other.study_id


def row_of(patient: Patient, rows: Sequence[StudyRow], *, is_known: bool) -> int | None:
    """The row that a film belongs to by the patient it names; None where it needs a row of its own.

    `is_known`: versions of its SOP Instance UID are on record, so that a missing Patient ID says nothing.
    """
    ordered = sorted(rows, key=lambda row: row.side)
    exact = [row for row in ordered if row.patient == patient]
    same = [row for row in ordered if patient.is_same(row.patient)]
    open_to = [] if is_known else [row for row in ordered if patient.may_be(row.patient)]
    chosen = next(iter([*exact, *same, *open_to]), None)
    return chosen.study_id if chosen else None


def may_rename(patient: Patient, row: StudyRow) -> bool:
    """Whether the row may change to this patient: none of its other films names another one."""
    return all(patient.may_be(other) for other in row.others)


def is_withdrawn(claim: Sequence[tuple[str, Transmission]], held: Sequence[tuple[str, Transmission]]) -> bool:
    """Whether each source of the contradicting objects has later sent the same objects in the study that holds them.

    Each transmission comes with its SOP Instance UID.
    """
    last: dict[tuple[str, str], int] = {}
    for sop_uid, sent in held:
        last[sop_uid, sent.source] = max(sent.last_at_ms, last.get((sop_uid, sent.source), sent.last_at_ms))
    return bool(claim) and all(last.get((sop_uid, sent.source), -1) > sent.last_at_ms for sop_uid, sent in claim)
