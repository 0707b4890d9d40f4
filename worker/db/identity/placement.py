"""Where the films of one study belong, from all that is on record: the rules as pure functions.

`assignment` places one object after another; this places all of them at once, after a merge of patients or its end, and
gives the same rows as `assignment` would have given.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.db.identity.rules import StudyRow, counting, joined, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.db.identity.rules import Patient, Transmission, Version


@dataclass(frozen=True, slots=True)
class RowFacts:
    """A row that is shown: its patients, the first of them before the others, as they are meant by now."""

    study_id: int
    side: int
    patients: tuple[Patient, ...]


@dataclass(slots=True)
class Film:
    """One film with its versions, and where it belongs."""

    versions: list[Version]
    winner: Version
    #: Whether one of its versions counts.
    counts: bool
    #: Whether none counted so far because another version of the same row did.
    was_beaten: bool
    target: int = 0


@dataclass(slots=True)
class Placement:
    """The rows of a study: which go into which, which are new, and where each film belongs."""

    films: list[Film]
    #: The row that each row goes into; itself where it stays.
    root: dict[int, int]
    #: The patient of each row that stays.
    home: dict[int, Patient]
    #: Rows below 0 that have to be made or found, with their patients.
    new: dict[int, Patient] = field(default_factory=dict)


def place(
    rows: Sequence[RowFacts],
    versions: Sequence[Version],
    sent: Mapping[int, Sequence[Transmission]],
    can_be_named: Callable[[Patient], bool],
) -> Placement:
    """Place all films of a study.

    Parameters
    ----------
    rows
        The rows that are shown.
    versions
        All versions of all their objects, each with the patient who is meant by now.
    sent
        The transmissions of each version, by image.
    can_be_named
        Whether the ID of a patient is known, so that a row can be theirs.

    Returns
    -------
    Placement
        Films of one patient are in one row; a film whose patient has no row, and whose ID is not known, stays.
    """
    films = _films(versions, sent)
    home = {row.study_id: _home(row, films, can_be_named) for row in rows}
    root = _roots(rows, home)
    placement = Placement(films, root, {study_id: home[study_id] for study_id in root.values()})
    sides = {row.study_id: row.side for row in rows}
    while True:
        places: dict[tuple[str, int], list[Film]] = defaultdict(list)
        for film in placement.films:
            film.target = _target(film, placement, sides, can_be_named)
            places[film.winner.sop_uid, film.target].append(film)
        double = next((found for found in places.values() if len(found) > 1), None)
        if double is None:
            return placement
        # The row of that patient has a film of this UID as well: all are versions of one film.
        others = [film for film in placement.films if film not in double]
        placement.films = [*others, _film([version for film in double for version in film.versions], versions, sent)]


def _films(versions: Sequence[Version], sent: Mapping[int, Sequence[Transmission]]) -> list[Film]:
    by_uid: dict[str, list[Version]] = defaultdict(list)
    for version in versions:
        by_uid[version.sop_uid].append(version)
    return [_film(found, by_uid[uid], sent) for uid in sorted(by_uid) for found in joined(by_uid[uid])]


def _film(found: list[Version], others: Sequence[Version], sent: Mapping[int, Sequence[Transmission]]) -> Film:
    """A film; of versions that a decision excludes in one row, those of another row are asked first."""
    counting_rows = {version.study_id for version in found if version.is_current}
    asked = [version for version in found if version.study_id in counting_rows] or found
    by_digest = {version.sha256: version for version in asked}
    transmissions = [item for version in asked for item in sent.get(version.image_id, ())]
    winner = by_digest[counting(transmissions)] if transmissions else asked[-1]
    here = {version.study_id for version in found}
    was_beaten = not counting_rows and any(
        other.is_current and other.study_id in here and other.sop_uid == winner.sop_uid for other in others
    )
    return Film(found, winner, bool(counting_rows) or was_beaten, was_beaten)


def _home(row: RowFacts, films: Sequence[Film], can_be_named: Callable[[Patient], bool]) -> Patient:
    """The patient of a row: the one it had, as long as a film of theirs is there."""
    wanted = [film.winner.patient for film in films if film.winner.study_id == row.study_id and film.winner.patient.key]
    kept = [patient for patient in row.patients if any(patient.is_same(other) for other in wanted)]
    named = [patient for patient in wanted if can_be_named(patient)]
    return next(iter([*kept, *named, *row.patients]))


def _roots(rows: Sequence[RowFacts], home: Mapping[int, Patient]) -> dict[int, int]:
    root: dict[int, int] = {}
    kept: list[RowFacts] = []
    for row in sorted(rows, key=lambda row: row.side):
        facts = [StudyRow(other.study_id, other.side, home[other.study_id]) for other in kept]
        same = row_of(home[row.study_id], facts, is_known=True)
        root[row.study_id] = row.study_id if same is None else same
        if same is None:
            kept.append(row)
    return root


def _target(film: Film, placement: Placement, sides: Mapping[int, int], can_be_named: Callable[[Patient], bool]) -> int:
    patient = film.winner.patient
    here = placement.root[film.winner.study_id]
    if patient.may_be(placement.home[here]):
        return here
    shown = [
        StudyRow(study_id, sides.get(study_id, len(sides) - study_id), home)
        for study_id, home in (placement.home | placement.new).items()
    ]
    found = row_of(patient, shown, is_known=True)
    if found is not None:
        return found
    if not can_be_named(patient):
        return here
    made = -1 - len(placement.new)
    placement.new[made] = patient
    return made
