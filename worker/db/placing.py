"""An object finds its row: a version of a film on record, another film of a study, or a contradiction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.db import conflicts, identity
from worker.db.identity import Row, Version
from worker.db.rows import (
    Cause,
    Locked,
    add_side,
    fold,
    follow,
    let_current,
    note_film_gone,
    patient_of,
    row_facts,
    set_current,
)
from worker.db.schema import Image, Study
from worker.db.states import ConflictKind
from worker.db.versions import add_version, hear, move_film, put_behind, versions_of, words_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.db.arrivals import Arrival

_FOLD_WHY = "the objects now name one patient"


@dataclass(slots=True)
class Placed:
    """Where an object ended, and what else that changed."""

    study: Study
    image_id: int
    is_new: bool
    #: Whether what counts in the row changed, ...
    is_changed: bool = False
    #: ... and whether something else counted in its place.
    is_displacing: bool = False
    #: Other rows that lost a film.
    left: set[int] = field(default_factory=set)
    #: Rows whose conflicts changed.
    touched: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Film:
    """The film an object is a version of."""

    #: Rows that hold versions of it.
    rows: set[int]
    versions: list[Version]

    @property
    def before(self) -> dict[int, str]:
        """Which version counts in which row."""
        return {version.study_id: version.sha256 for version in self.versions if version.is_current}

    @property
    def is_rejected(self) -> bool:
        """Whether it was decided that none of its versions counts."""
        return bool(self.versions) and not self.before


def place(session: Session, arrival: Arrival, locked: Locked) -> Placed:
    """Put an object on record under the locks of its rows, and let what counts follow."""
    return _Placing(session, arrival, locked).run()


class _Placing:
    def __init__(self, session: Session, arrival: Arrival, locked: Locked) -> None:
        self._session = session
        self._arrival = arrival
        self._sop_uid = arrival.facts.sop_uid
        self._own = {study.id: study for study in locked.own}
        self._foreign = {study.id for study in locked.foreign}
        self._locked = self._own | {study.id: study for study in locked.foreign}
        self._versions = versions_of(session, self._sop_uid)
        if self._versions:
            put_behind(session, arrival)

    def run(self) -> Placed:
        arrival = self._arrival
        known = next((version for version in self._versions if version.sha256 == arrival.sha256), None)
        film = self._film(known)
        was_rejected = film.is_rejected
        home = self._home(film)
        image_id = known.image_id if known else add_version(self._session, home, arrival)
        hear(self._session, image_id, arrival, is_new=known is None)
        placed = Placed(home, image_id, known is None)
        if known is None:
            new = Version(
                image_id, home.id, home.study_uid, arrival.patient, arrival.pixels, arrival.sha256, is_current=False
            )
            self._versions.append(new)
            film.rows.add(home.id)
            film.versions.append(new)
        if not (was_rejected and known):
            self._count(film, placed, was_rejected=was_rejected)
        if placed.is_new:
            self._contradict(placed)
        placed.touched |= conflicts.review(self._session, placed.study.id, self._sop_uid)
        return placed

    def _film(self, known: Version | None) -> _Film:
        if known:
            rows = {known.study_id}
        else:
            own = [version for version in self._versions if version.study_id in self._own]
            rows = set(identity.films_of(self._arrival.patient, self._arrival.pixels, self._rows(), own))
        return self._film_in(rows)

    def _film_in(self, rows: set[int]) -> _Film:
        return _Film(set(rows), [version for version in self._versions if version.study_id in rows])

    def _rows(self) -> list[Row]:
        return [Row(study.id, study.side, patient_of(study)) for study in self._own.values()]

    def _home(self, film: _Film) -> Study:
        """The row that new bytes are put in first; a row of their own where they contradict every other."""
        if film.rows:
            return self._locked[min(film.rows)]
        is_known = any(version.study_id in self._own for version in self._versions)
        found = identity.row_of(self._arrival.patient, self._rows(), is_known=is_known)
        return self._locked[found] if found is not None else self._add_side()

    def _add_side(self) -> Study:
        study = add_side(self._session, self._arrival)
        self._own[study.id] = self._locked[study.id] = study
        return study

    def _count(self, film: _Film, placed: Placed, *, was_rejected: bool) -> None:
        """Let the right version count in the row of the patient it names."""
        winner = self._winner(film, was_rejected=was_rejected)
        target = self._target(winner, film)
        if target.id not in film.rows:
            # The patient's row may have a film of this UID as well: then these are versions of one.
            film = self._film_in(film.rows | {target.id})
            winner = self._winner(film, was_rejected=was_rejected)
        before = film.before
        placed.study = target
        if before == {target.id: winner.sha256}:
            return
        placed.is_changed, placed.is_displacing = True, bool(before)
        if before:
            set_current(self._session, film.rows, self._sop_uid, None)
        moved = [version.image_id for version in film.versions if version.study_id != target.id]
        if moved:
            move_film(self._session, moved, target.id)
        let_current(self._session, target.id, self._sop_uid, winner.sha256)
        for study_id in sorted(before.keys() - {target.id}):
            self._leave(self._locked[study_id], placed, [v.image_id for v in film.versions if v.study_id == study_id])
        if winner.sha256 == self._arrival.sha256:
            follow(self._session, placed.study, self._arrival, placed.image_id)
        self._session.flush()

    def _winner(self, film: _Film, *, was_rejected: bool) -> Version:
        by_digest = {version.sha256: version for version in film.versions}
        if len(by_digest) == 1:
            return film.versions[0]
        if was_rejected:
            return by_digest[self._arrival.sha256]
        return by_digest[identity.counting(words_of(self._session, [item.image_id for item in film.versions]))]

    def _target(self, winner: Version, film: _Film) -> Study:
        home = self._locked[min(film.rows)]
        holding = [row for row in self._rows() if row.study_id in film.rows]
        rows = holding if any(winner.patient.may_be(row.patient) for row in holding) else self._rows()
        found = identity.row_of(winner.patient, rows, is_known=rows is not holding)
        if found is not None:
            return self._locked[found]
        if winner.sha256 != self._arrival.sha256:
            # Only the header at hand could fill a row of its own; the rows of its patient say that they are in doubt.
            return home
        if identity.may_rename(winner.patient, row_facts(self._session, home, self._sop_uid)):
            return home
        return self._add_side()

    def _leave(self, study: Study, placed: Placed, image_ids: list[int]) -> None:
        """A film has left a row: fold what is empty now, else both contradict each other until the rest follows."""
        rest = select(Image.id).where(Image.study_id == study.id, Image.is_current).limit(1)
        if self._session.execute(rest).first() is None:
            arrival = self._arrival
            cause = Cause(conflicts.SOURCE, _FOLD_WHY, arrival.source, placed.image_id)
            kept = fold(self._session, placed.study, study, cause)
            gone = study if kept is placed.study else placed.study
            self._own.pop(gone.id, None)
            placed.study = kept
            placed.touched.add(gone.id)
            return
        note_film_gone(self._session, study, placed.study, image_ids, self._arrival.source)
        conflicts.follow_films(
            self._session,
            study.id,
            placed.study.id,
            who=conflicts.SOURCE,
            why=_FOLD_WHY,
            sop_uid=self._sop_uid,
        )
        self._open(ConflictKind.PATIENT, study.id, placed.study.id)
        placed.left.add(study.id)

    def _contradict(self, placed: Placed) -> None:
        """Open the conflicts of new bytes: with another patient of the study, and with other studies of the object."""
        study = placed.study
        others = {item.id for item in self._own.values() if item.id != study.id and item.n_images}
        if not study.n_images:
            for other in conflicts.by_age(self._session, others):
                self._open(ConflictKind.PATIENT, other, study.id)
                placed.touched.add(other)
        holding = {version.study_id for version in self._versions if version.is_current}
        for other in sorted(holding & self._foreign):
            self._open(ConflictKind.SOP_INSTANCE, other, study.id)
            placed.touched.add(other)

    def _open(self, kind: ConflictKind, one: int, other: int) -> None:
        """Open a conflict; what came first is held, in whichever order it is registered."""
        sop_uid = self._sop_uid if kind is ConflictKind.SOP_INSTANCE else ""
        held, claim = conflicts.by_age(self._session, (one, other), sop_uid)
        conflicts.open_conflict(self._session, kind, held, claim, sop_uid)
