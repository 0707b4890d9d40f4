"""An object is assigned to a row: as a version of a film on record, as a further film, or as a contradiction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.db.identity import conflicts, rules
from worker.db.identity.headers import keep_header
from worker.db.identity.rows import (
    Cause,
    Locked,
    add_side,
    make_current,
    merge,
    patient_of,
    record_film_moved,
    row_facts,
    set_current,
    update_columns,
)
from worker.db.identity.rules import StudyRow, Version
from worker.db.identity.versions import (
    add_version,
    move_film,
    record_receipt,
    shift_receipts_back,
    transmissions_of,
    versions_of,
)
from worker.db.identity.withdrawals import partners_of
from worker.db.schema.states import ConflictKind
from worker.db.schema.study import Image, Study

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.db.identity.arrivals import Arrival

_MERGE_WHY = "the objects now name one patient"


@dataclass(slots=True)
class Assignment:
    """The row that an object was assigned to, and what else changed."""

    study: Study
    image_id: int
    is_new: bool
    #: The revision that the row had, and a new image has.
    revision: int
    #: Whether other versions of the film are on record, in any row.
    has_versions: bool
    #: Whether what counts in the row changed.
    is_changed: bool = False
    #: Whether that took the place of another version.
    is_displacing: bool = False
    #: Other rows that lost a film.
    left: set[int] = field(default_factory=set)
    #: Rows whose conflicts changed.
    touched: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _FilmVersions:
    """All versions of the film that an object is a version of."""

    #: Rows that hold versions of it.
    rows: set[int]
    versions: list[Version]

    @property
    def before(self) -> dict[int, str]:
        """The SHA-256 of the version that counts, by row."""
        return {version.study_id: version.sha256 for version in self.versions if version.is_current}

    @property
    def is_rejected(self) -> bool:
        """Whether a decision about a conflict let none of its versions count."""
        return bool(self.versions) and not self.before


def assign(session: Session, arrival: Arrival, locked: Locked) -> Assignment:
    """Record an object in the row it belongs to, and decide which version of its film counts.

    The caller holds the locks of all rows that this may change.
    """
    return _Assigner(session, arrival, locked).run()


class _Assigner:
    def __init__(self, session: Session, arrival: Arrival, locked: Locked) -> None:
        self._session = session
        self._sop_uid = arrival.facts.sop_uid
        self._own = {study.id: study for study in locked.own}
        self._foreign = {study.id for study in locked.foreign}
        self._locked = self._own | {study.id: study for study in locked.foreign}
        self._versions = versions_of(session, arrival.aliases, self._sop_uid)
        self._arrival = arrival.beside(self._versions)
        if self._versions:
            shift_receipts_back(session, arrival)

    def run(self) -> Assignment:
        arrival = self._arrival
        known = next((version for version in self._versions if version.sha256 == arrival.sha256), None)
        film = self._film(known)
        was_rejected = film.is_rejected
        home = self._home(film)
        image_id = known.image_id if known else add_version(self._session, home, arrival)
        record_receipt(self._session, image_id, arrival, is_new=known is None)
        assignment = Assignment(home, image_id, known is None, home.revision, bool(self._versions))
        if known is None:
            new = Version(
                image_id, home.id, home.study_uid, arrival.patient, arrival.pixels, arrival.sha256, is_current=False
            )
            self._versions.append(new)
            film.rows.add(home.id)
            film.versions.append(new)
        if not (was_rejected and known):
            self._count(film, assignment, was_rejected=was_rejected)
        if assignment.is_new and not arrival.is_own_result:
            self._contradict(assignment)
        assignment.touched |= conflicts.review(self._session, assignment.study.id, self._sop_uid)
        return assignment

    def _film(self, known: Version | None) -> _FilmVersions:
        if known:
            rows = {known.study_id}
        else:
            own = [version for version in self._versions if version.study_id in self._own]
            rows = set(rules.films_of(self._arrival.patient, self._arrival.pixels, self._rows(), own))
        return self._film_in(rows)

    def _film_in(self, rows: set[int]) -> _FilmVersions:
        return _FilmVersions(set(rows), [version for version in self._versions if version.study_id in rows])

    def _rows(self) -> list[StudyRow]:
        return [StudyRow(study.id, study.side, patient_of(study)) for study in self._own.values()]

    def _home(self, film: _FilmVersions) -> Study:
        """The row that a new version is added to first; a new row where it contradicts all others."""
        if film.rows:
            return self._locked[min(film.rows)]
        is_known = any(version.study_id in self._own for version in self._versions)
        found = rules.row_of(self._arrival.patient, self._rows(), is_known=is_known)
        return self._locked[found] if found is not None else self._add_side()

    def _add_side(self) -> Study:
        study = add_side(self._session, self._arrival)
        self._own[study.id] = self._locked[study.id] = study
        return study

    def _count(self, film: _FilmVersions, assignment: Assignment, *, was_rejected: bool) -> None:
        """Decide which version counts, and move the film to the row of the patient whom that version names."""
        winner = self._winner(film, was_rejected=was_rejected)
        target = self._target(winner, film)
        if target.id not in film.rows:
            # The row of that patient may have a film of this UID as well: then all are versions of one film.
            film = self._film_in(film.rows | {target.id})
            winner = self._winner(film, was_rejected=was_rejected)
        before = film.before
        assignment.study = target
        if before == {target.id: winner.sha256}:
            return
        assignment.is_changed, assignment.is_displacing = True, bool(before)
        if before:
            set_current(self._session, film.rows, self._sop_uid, None)
        moved = [version.image_id for version in film.versions if version.study_id != target.id]
        if moved:
            move_film(self._session, moved, target.id)
        make_current(self._session, target.id, self._sop_uid, winner.sha256)
        for study_id in sorted(before.keys() - {target.id}):
            self._leave(
                self._locked[study_id], assignment, [v.image_id for v in film.versions if v.study_id == study_id]
            )
        if winner.sha256 == self._arrival.sha256:
            keep_header(self._session, assignment.study, self._arrival, assignment.image_id)
            if not self._arrival.is_own_result:
                update_columns(self._session, assignment.study, self._arrival, assignment.image_id)
        self._session.flush()

    def _winner(self, film: _FilmVersions, *, was_rejected: bool) -> Version:
        by_digest = {version.sha256: version for version in film.versions}
        if len(by_digest) == 1:
            return film.versions[0]
        if was_rejected:
            return by_digest[self._arrival.sha256]
        return by_digest[rules.counting(transmissions_of(self._session, [item.image_id for item in film.versions]))]

    def _target(self, winner: Version, film: _FilmVersions) -> Study:
        home = self._locked[min(film.rows)]
        holding = [row for row in self._rows() if row.study_id in film.rows]
        rows = holding if any(winner.patient.may_be(row.patient) for row in holding) else self._rows()
        found = rules.row_of(winner.patient, rows, is_known=rows is not holding)
        if found is not None:
            return self._locked[found]
        if winner.sha256 != self._arrival.sha256:
            # A new row needs a header, and only that of the arrival is at hand. The film stays, and its row is in doubt.
            return home
        if rules.may_rename(winner.patient, row_facts(self._session, self._arrival.aliases, home, self._sop_uid)):
            return home
        return self._add_side()

    def _leave(self, study: Study, assignment: Assignment, image_ids: list[int]) -> None:
        """Settle a row that lost its film: merge an empty one, else open a conflict until its other films follow."""
        rest = select(Image.id).where(Image.study_id == study.id, Image.is_current).limit(1)
        if self._session.execute(rest).first() is None:
            arrival = self._arrival
            cause = Cause(conflicts.SOURCE, _MERGE_WHY, arrival.source, assignment.image_id)
            kept = merge(self._session, assignment.study, study, cause)
            gone = study if kept is assignment.study else assignment.study
            self._own.pop(gone.id, None)
            assignment.study = kept
            assignment.touched.add(gone.id)
            return
        record_film_moved(self._session, study, assignment.study, image_ids, self._arrival.source)
        conflicts.move_conflicts(
            self._session,
            study.id,
            assignment.study.id,
            who=conflicts.SOURCE,
            why=_MERGE_WHY,
            sop_uid=self._sop_uid,
        )
        self._open(ConflictKind.PATIENT, study.id, assignment.study.id)
        assignment.left.add(study.id)

    def _contradict(self, assignment: Assignment) -> None:
        """Open the conflicts of a new version: with other patients of the study, and with other studies of the object."""
        study = assignment.study
        others = {item.id for item in self._own.values() if item.id != study.id and item.n_images}
        if not study.n_images:
            for other in conflicts.by_age(self._session, others):
                self._open(ConflictKind.PATIENT, other, study.id)
                assignment.touched.add(other)
        else:
            # A row that held withdrawn films or rejection notes alone was no doubt, and is one now.
            assignment.touched |= partners_of(self._session, {study.id}) & self._own.keys()
        holding = {version.study_id for version in self._versions if version.is_current}
        for other in sorted(holding & self._foreign):
            self._open(ConflictKind.SOP_INSTANCE, other, study.id)
            assignment.touched.add(other)

    def _open(self, kind: ConflictKind, one: int, other: int) -> None:
        """Open a conflict; the row that came first is the held one, whatever the order of registration."""
        sop_uid = self._sop_uid if kind is ConflictKind.SOP_INSTANCE else ""
        held, claim = conflicts.by_age(self._session, (one, other), sop_uid)
        conflicts.open_conflict(self._session, kind, held, claim, sop_uid)
