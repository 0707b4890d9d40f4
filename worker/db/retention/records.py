"""The rows of studies that may go: which belong together, what keeps them, and their deletion.

A record is a study with the rows that were merged into it and those that share a rejection note in force with it: they
go together. A decided conflict is a part of both its records, so it stays until the floor of the other one has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import aliased

from worker.db.audit.codes import Act
from worker.db.audit.record import record
from worker.db.identity.rows import patient_of
from worker.db.retention.conditions import has_open_task, is_undelivered, withdrawn_at
from worker.db.retention.files import lock_studies, mark_where
from worker.db.retention.rules import Hold, Kept, RecordFacts, RecordState, floor_of, holds_of, years_before
from worker.db.retention.tables import delete_studies
from worker.db.schema.states import ConflictEnd, HeldFile, NoteVerdict
from worker.db.schema.study import (
    Commitment,
    Conflict,
    Image,
    RejectedObject,
    RejectionNote,
    Removal,
    Study,
    Withdrawal,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

    from worker.db.retention.files import MarkedStudy, Taker
    from worker.db.retention.rules import FloorRule, RecordRule


@dataclass(frozen=True, slots=True)
class Record:
    """The rows of the worklist that go together, and what keeps them."""

    #: The study that leads, and all that go with it, in the order of their numbers.
    study_id: int
    study_ids: tuple[int, ...]
    study_uid: str
    side: int
    #: The first day on which its rows may go; None where the site has set no floor.
    floor: date | None
    holds: tuple[Hold, ...]

    @property
    def reason(self) -> Kept | None:
        """The first reason why it stays; None where it may go."""
        return self.holds[0].reason if self.holds else None

    @property
    def files_may_go(self) -> bool:
        """Whether nothing but the time for which rows are kept holds it."""
        return all(hold.reason.is_by_floor for hold in self.holds)


def candidates(
    session: Session, rule: RecordRule, now: datetime, after: int, limit: int, study_uids: Sequence[str] = ()
) -> list[int]:
    """The next studies that may be old enough, by their numbers; with `study_uids` every one of these.

    A study's day is its date or the day on which it came, so one that is younger by both cannot have passed its floor.
    """
    wanted = select(Study.id).where(Study.id > after, _may_be_old_enough(rule, now, study_uids))
    return list(session.scalars(wanted.order_by(Study.id).limit(limit)))


def count_candidates(session: Session, rule: RecordRule, now: datetime, study_uids: Sequence[str] = ()) -> int:
    """How many there are."""
    counted = select(func.count()).select_from(Study).where(_may_be_old_enough(rule, now, study_uids))
    return session.execute(counted).scalar_one()


def _may_be_old_enough(rule: RecordRule, now: datetime, study_uids: Sequence[str]) -> ColumnElement[bool]:
    is_shown = Study.merged_into_id.is_(None)
    if study_uids:
        return and_(is_shown, Study.study_uid.in_(study_uids))
    if rule.floor is None:
        return is_shown
    until = years_before(now.date(), rule.floor.years)
    came_until = datetime.combine(until, time.max, UTC)
    return and_(is_shown, or_(Study.study_date <= until, Study.first_rx_at <= came_until))


def records(session: Session, study_ids: Sequence[int], rule: RecordRule, now: datetime) -> list[Record]:
    """The records of these studies, each once."""
    found: list[Record] = []
    seen: set[int] = set()
    for study_id in study_ids:
        if study_id not in seen:
            together = _together(session, study_id)
            seen |= together
            if one := _record(session, study_id, together, rule, now):
                found.append(one)
    return found


def _record(session: Session, lead: int, together: Collection[int], rule: RecordRule, now: datetime) -> Record | None:
    facts = _facts_of(session, together)
    if not facts:
        return None
    floor = max((floor_of(each.dates, rule.floor) for each in facts), default=None) if rule.floor else None
    holds = holds_of(_joined([each.state for each in facts]), floor, rule, now)
    bound_until = _bound_until(session, together, rule.floor, now)
    if bound_until is not None:
        holds.append(Hold(Kept.BOUND, bound_until))
    first = next((each for each in facts if each.study_id == lead), facts[0])
    ids = tuple(each.study_id for each in facts)
    return Record(first.study_id, ids, first.study_uid, first.side, floor, tuple(holds))


@dataclass(frozen=True, slots=True)
class _Facts:
    study_id: int
    study_uid: str
    side: int
    dates: RecordFacts
    state: RecordState


def _facts_of(session: Session, study_ids: Collection[int]) -> list[_Facts]:
    """What the rules read of these rows, in the order of their numbers; rows that are gone are left out."""
    return [found for study_id in sorted(study_ids) if (found := _facts(session, study_id))]


def _facts(session: Session, study_id: int) -> _Facts | None:
    of_study = Image.study_id == Study.id
    is_open = exists(select(Image.id).where(of_study, has_open_task()).correlate(Study))
    withdrawn = select(func.max(withdrawn_at())).select_from(Image).where(of_study).correlate(Study)
    committed = select(func.max(Commitment.until)).join(Image, Image.id == Commitment.image_id).where(of_study)
    youngest = select(func.min(Image.age_months)).where(of_study)
    row = session.execute(
        select(
            Study.study_uid,
            Study.side,
            Study.state,
            Study.merged_into_id,
            Study.first_rx_at,
            Study.study_date,
            Study.patient_birth_date,
            is_open.label("is_open"),
            _is_in_conflict().label("is_in_conflict"),
            is_undelivered().label("is_undelivered"),
            withdrawn.scalar_subquery().label("withdrawn_at"),
            committed.correlate(Study).scalar_subquery().label("committed_until"),
            youngest.correlate(Study).scalar_subquery().label("age_months"),
        ).where(Study.id == study_id)
    ).one_or_none()
    if row is None:
        return None
    return _Facts(
        study_id,
        row.study_uid,
        row.side,
        RecordFacts(row.first_rx_at.date(), row.study_date, row.patient_birth_date, row.age_months),
        RecordState(
            # The state of a row that was merged is that of its last day, and says nothing.
            is_finished=row.merged_into_id is not None or row.state.is_terminal,
            has_open_task=bool(row.is_open),
            has_open_conflict=bool(row.is_in_conflict),
            withdrawn_at=row.withdrawn_at,
            is_undelivered=bool(row.is_undelivered),
            committed_until=row.committed_until,
        ),
    )


def _is_in_conflict() -> ColumnElement[bool]:
    """SQL: whether a conflict of a row is open, or was withdrawn by its source while its object counts in a row in doubt."""
    film = aliased(Image)
    still_counts = (
        exists()
        .where(
            film.study_id == Conflict.claim_study_id,
            film.is_current,
            or_(Conflict.sop_uid == "", film.sop_uid == Conflict.sop_uid),
        )
        .correlate(Conflict)
    )
    undecided = or_(Conflict.closed_at.is_(None), and_(Conflict.resolution == ConflictEnd.WITHDRAWN, still_counts))
    ends = or_(Conflict.held_study_id == Study.id, Conflict.claim_study_id == Study.id)
    return exists().where(undecided, ends).correlate(Study)


def _joined(states: Sequence[RecordState]) -> RecordState:
    """The states of several rows as one: what holds one of them holds all."""
    return RecordState(
        is_finished=all(state.is_finished for state in states),
        has_open_task=any(state.has_open_task for state in states),
        has_open_conflict=any(state.has_open_conflict for state in states),
        withdrawn_at=max((state.withdrawn_at for state in states if state.withdrawn_at), default=None),
        is_undelivered=any(state.is_undelivered for state in states),
        committed_until=max((state.committed_until for state in states if state.committed_until), default=None),
    )


def _together(session: Session, study_id: int) -> set[int]:
    """The rows that go with a study, itself included; none where it is gone."""
    if session.get(Study, study_id, populate_existing=True) is None:
        return set()
    found: set[int] = set()
    new = {study_id}
    while new:
        found |= new
        merged = session.execute(
            select(Study.id, Study.merged_into_id).where(
                Study.merged_into_id.is_not(None), or_(Study.id.in_(new), Study.merged_into_id.in_(new))
            )
        ).all()
        pairs = [*merged, *_by_notes(session, new, NoteVerdict.APPLIED)]
        new = {end for pair in pairs for end in pair if end is not None} - found
    return found


def _by_notes(session: Session, study_ids: Collection[int], *verdicts: NoteVerdict) -> list[tuple[int, int]]:
    """Pairs of different rows of which one has a rejection note that met a film of the other, by what came of it."""
    film, document = aliased(Image), aliased(Image)
    rows = session.execute(
        select(document.study_id, film.study_id)
        .select_from(Withdrawal)
        .join(RejectedObject, RejectedObject.id == Withdrawal.rejected_object_id)
        .join(RejectionNote, RejectionNote.id == RejectedObject.note_id)
        .join(document, document.id == RejectionNote.image_id)
        .join(film, film.id == Withdrawal.image_id)
        .where(
            Withdrawal.verdict.in_(verdicts),
            document.study_id != film.study_id,
            or_(document.study_id.in_(study_ids), film.study_id.in_(study_ids)),
        )
        .distinct()
    ).all()
    return [(row[0], row[1]) for row in rows]


def _bound_until(session: Session, study_ids: Collection[int], rule: FloorRule | None, now: datetime) -> date | None:
    """Until when a conflict or note is also a part of another record; None where none is."""
    ends = session.execute(
        select(Conflict.held_study_id, Conflict.claim_study_id).where(
            or_(Conflict.held_study_id.in_(study_ids), Conflict.claim_study_id.in_(study_ids))
        )
    ).all()
    others = [verdict for verdict in NoteVerdict if verdict is not NoteVerdict.APPLIED]
    pairs = [*ends, *_by_notes(session, study_ids, *others)]
    partners = {end for pair in pairs for end in pair} - set(study_ids)
    floors = [floor_of(each.dates, rule) if rule else date.max for each in _facts_of(session, partners)]
    return max((floor for floor in floors if now.date() < floor), default=None)


def mark_files(session: Session, by: Taker, found: Sequence[Record]) -> list[MarkedStudy]:
    """Mark every original and film of these records; the caller holds the locks of their studies."""
    of_records = Study.id.in_([study_id for each in found for study_id in each.study_ids])
    return [marked for kind in HeldFile for marked in mark_where(session, by, kind, of_records)]


def going(session: Session, study_ids: Sequence[int], rule: RecordRule, now: datetime) -> list[Record]:
    """The records of these studies that may go, looked at again under the locks of all their rows."""
    held: set[int] = set()
    while True:
        found = [each for each in records(session, study_ids, rule, now) if each.reason is None]
        missing = {study_id for each in found for study_id in each.study_ids} - held
        if not missing:
            return found
        lock_studies(session, sorted(missing))
        held |= missing


def has_files(session: Session, study_ids: Sequence[int]) -> bool:
    """Whether a file of these studies is not marked, or is marked and was not removed yet."""
    of_studies = Image.study_id.in_(study_ids)
    is_unmarked = or_(
        Image.original_purged_at.is_(None), and_(Image.film_key.is_not(None), Image.film_purged_at.is_(None))
    )
    waits = exists().where(Removal.key.in_((Image.store_key, Image.film_key))).correlate(Image)
    return session.scalar(select(Image.id).where(of_studies, or_(is_unmarked, waits)).limit(1)) is not None


@dataclass(frozen=True, slots=True)
class Deletion:
    """Who deletes rows and why, for the record."""

    by: Taker
    why: str
    below_floor: bool


def delete_record(session: Session, each: Record, order: Deletion) -> None:
    """Delete the rows of a record, each study with its audit event; the caller holds the locks of its studies."""
    rows = session.execute(select(Study).where(Study.id.in_(each.study_ids)).order_by(Study.id)).scalars().all()
    named = [(study.study_uid, study.side, patient_of(study).key) for study in rows]
    deleted = delete_studies(session, each.study_ids)
    for study_uid, side, patient_key in named:
        detail = {
            "purge": order.by.purge_id,
            # Not the floor itself, from which the birth date of a child could be computed.
            "below_floor": order.below_floor,
            "why": order.why,
            "rows": deleted,
        }
        record(
            session,
            Act.RECORDS_PURGED,
            order.by.actor,
            study_uid=study_uid,
            side=side,
            patient_key=patient_key,
            detail=detail,
        )
