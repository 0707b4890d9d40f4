"""Conflicts for people: listed from the public view, and decided by a person or by what the source says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, not_, or_, select, update
from sqlalchemy.orm import aliased

from worker.db.answers.recompute import recompute
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.identity.conflicts import close, transmissions_in
from worker.db.identity.rows import Cause, merge, patient_of, set_current
from worker.db.identity.rules import Patient, counting
from worker.db.schema.states import ConflictEnd, ConflictKind
from worker.db.schema.study import Conflict, Image, Receipt, RejectedObject, RejectionNote, Study, Withdrawal
from worker.db.schema.types import now_utc
from worker.db.schema.views import CONFLICTS, Row
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

#: Ends that a decision can have; WITHDRAWN comes from a source alone.
_BY_DECISION = (ConflictEnd.HELD, ConflictEnd.CLAIM, ConflictEnd.BOTH, ConflictEnd.SAME)


def conflicts(
    session: Session, *, decided: bool = False, after: int | None = None, limit: int | None = None
) -> list[Row]:
    """The conflicts by their numbers, from behind a number on; without `decided` those alone that leave a row in doubt."""
    statement = select(CONFLICTS).order_by(CONFLICTS.c.conflict_id).limit(limit)
    if after is not None:
        statement = statement.where(CONFLICTS.c.conflict_id > after)
    if not decided:
        in_doubt = or_(CONFLICTS.c.closed_at.is_(None), CONFLICTS.c.resolution == ConflictEnd.WITHDRAWN)
        statement = statement.where(in_doubt)
    return [dict(row) for row in session.execute(statement).mappings()]


def conflict(session: Session, number: int) -> Row:
    """One conflict with both its sides; raises `UsageError` for an unknown number."""
    found = session.execute(select(CONFLICTS).where(CONFLICTS.c.conflict_id == number)).mappings().one_or_none()
    if found is None:
        raise _unknown(number)
    return dict(found)


def of_study(session: Session, study_uid: str, side: int) -> list[Row]:
    """The conflicts of a row, the newest first."""
    row = select(Study.id).where(Study.study_uid == study_uid, Study.side == side).scalar_subquery()
    # By their numbers: no index answers a condition on either side of the view.
    numbers = session.scalars(
        select(Conflict.id).where(or_(Conflict.held_study_id == row, Conflict.claim_study_id == row))
    ).all()
    film, document = aliased(Image), aliased(Image)
    naming = (
        select(RejectedObject.note_id)
        .join(Withdrawal, Withdrawal.rejected_object_id == RejectedObject.id)
        .join(film, film.id == Withdrawal.image_id)
        .where(film.study_id == row)
    )
    sent = (
        select(RejectionNote.id).join(document, document.id == RejectionNote.image_id).where(document.study_id == row)
    )
    notes = session.scalars(naming.union(sent)).all()
    is_of_row = or_(
        *(
            and_(CONFLICTS.c[f"{end}_study_uid"] == study_uid, CONFLICTS.c[f"{end}_side"] == side)
            for end in ("held", "claim")
        )
    )
    # Each kind by itself: under a condition on either, SQLite makes every row of the view.
    of_kinds = (
        (CONFLICTS.c.note_id.is_(None), CONFLICTS.c.conflict_id.in_(numbers)),
        (CONFLICTS.c.note_id.in_(notes), CONFLICTS.c.note_id.is_not(None)),
    )
    found: list[Row] = []
    for wanted, conditions in zip((numbers, notes), of_kinds, strict=True):
        if wanted:
            rows = select(CONFLICTS).where(*conditions, is_of_row).order_by(CONFLICTS.c.conflict_id.desc())
            found += [dict(row) for row in session.execute(rows).mappings()]
    return found


def open_numbers(session: Session, study_uid: str) -> Sequence[int]:
    """The numbers of the open conflicts of a study."""
    rows = select(Study.id).where(Study.study_uid == study_uid)
    named = or_(Conflict.held_study_id.in_(rows), Conflict.claim_study_id.in_(rows))
    return session.scalars(select(Conflict.id).where(named, Conflict.closed_at.is_(None)).order_by(Conflict.id)).all()


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a conflict: a row, its patient, and the objects that count in it."""

    study_uid: str
    patient: Patient
    sop_uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sides:
    """A conflict with what it takes to ask a PACS about it."""

    number: int
    kind: ConflictKind
    sop_uid: str
    held: Side
    claim: Side
    #: AE titles that sent objects of either side, and those that sent what would not count if the claim were right.
    sources: frozenset[str]
    sources_of_held: frozenset[str]


def sides(session: Session, number: int) -> Sides:
    """Both sides of a conflict."""
    found = session.get_one(Conflict, number)
    ends = (found.held_study_id, found.claim_study_id)
    sent = select(Receipt.source).join(Image, Image.id == Receipt.image_id).distinct()
    of_held = sent.where(Image.study_id == found.held_study_id)
    if found.sop_uid:
        of_held = of_held.where(Image.sop_uid == found.sop_uid)
    held, claim = (_side(session, session.get_one(Study, study_id)) for study_id in ends)
    sources = frozenset(session.scalars(sent.where(Image.study_id.in_(ends))))
    return Sides(number, found.kind, found.sop_uid, held, claim, sources, frozenset(session.scalars(of_held)))


def _side(session: Session, study: Study) -> Side:
    uids = select(Image.sop_uid).where(Image.study_id == study.id, Image.is_current)
    return Side(study.study_uid, patient_of(study), frozenset(session.scalars(uids)))


def resolve(session: Session, number: int, end: ConflictEnd, *, who: str, why: str, asked: Sides | None = None) -> Row:
    """Decide a conflict, or change its decision; raises `UsageError` where the end is not possible. Returns the conflict.

    HELD: the contradicting objects do not count; CLAIM: those that came first do not count; BOTH: each counts in its own
    study; SAME: one patient, one row. What an earlier decision excluded and this one does not counts again. `asked`: the
    sides that the decision is about; nothing is done where they have changed since, or where the conflict is closed.
    """
    found = session.get(Conflict, number)
    if found is None:
        raise _unknown(number)
    both = {found.held_study_id, found.claim_study_id}
    locked = select(Study).where(Study.id.in_(both)).order_by(Study.id).with_for_update(key_share=True)
    studies = {item.id: item for item in session.scalars(locked.execution_options(populate_existing=True))}
    session.refresh(found)
    if asked is not None and (found.closed_at is not None or sides(session, number) != asked):
        return conflict(session, number)
    _check(found, end, list(studies.values()))
    before = f"; before: {found.resolution} by {found.who}: {found.why}" if found.resolution else ""
    was_decided = _was_decided(session, found)
    held, claim = studies[found.held_study_id], studies[found.claim_study_id]
    close(session, number, end, who, f"{why}{before}")
    losing = {ConflictEnd.HELD: claim, ConflictEnd.CLAIM: held}.get(end)
    for study in (held, claim):
        _include(session, study, found, counts=study is not losing, is_again=was_decided)
    if end is ConflictEnd.SAME:
        _merge_patients(session, held, claim, Cause(who, why))
    for study_id in sorted(both):
        recompute(session, study_id)
    record(
        session,
        Act.CONFLICT_RESOLVED,
        Actor.user(who),
        study_uid=held.study_uid,
        side=held.side,
        sop_uid=found.sop_uid,
        detail={"conflict": number, "resolution": end.value, "claim": claim.study_uid, "claim_side": claim.side},
    )
    return conflict(session, number)


def _check(found: Conflict, end: ConflictEnd, studies: list[Study]) -> None:
    if end not in _BY_DECISION:
        msg = f"{end.lower()} comes from a source alone; give one of held, claim, both, same"
        raise UsageError(msg)
    if any(study.merged_into_id is not None for study in studies) or len(studies) != 2:
        msg = f"conflict {found.id} is over: its films are one study"
        raise UsageError(msg)
    if end is ConflictEnd.SAME and found.kind is not ConflictKind.PATIENT:
        msg = f"conflict {found.id} is between two studies: 'same' is for two patients under one Study Instance UID"
        raise UsageError(msg)


def _merge_patients(session: Session, held: Study, claim: Study, cause: Cause) -> None:
    """Merge the rows of one patient with two IDs: all their films name the patient of the held row from now on.

    A patient merge that becomes known in another way would use this too.
    """
    patient = patient_of(held)
    session.execute(
        update(Image)
        .where(Image.study_id == claim.id)
        .values(patient_key=patient.key, issuer_of_patient_id=patient.issuer)
        .execution_options(synchronize_session=False)
    )
    kept = merge(session, held, claim, cause)
    _begin_revision(kept)
    session.flush()


def _include(session: Session, study: Study, about: Conflict, *, counts: bool, is_again: bool) -> None:
    """Exclude films from the answer of a row, or include those that an earlier decision excluded."""
    films = select(Image.sop_uid, Image.is_current).where(Image.study_id == study.id)
    rows = session.execute(films.where(Image.sop_uid == about.sop_uid) if about.sop_uid else films).all()
    changed = {uid for uid, is_current in rows if is_current}
    if counts:
        elsewhere = _excluded_elsewhere(session, study.id, about) if is_again else {""}
        changed = set() if "" in elsewhere else {uid for uid, _ in rows} - changed - elsewhere
    for uid in sorted(changed):
        transmissions = [sent for _, sent in transmissions_in(session, study.id, uid)]
        set_current(session, (study.id,), uid, counting(transmissions) if counts else None)
    if changed:
        _begin_revision(study)
        session.flush()


def _is_about(about: Conflict) -> ColumnElement[bool]:
    """SQL: a conflict between the same two rows about the same objects; a later film can open a second one."""
    ends = (about.held_study_id, about.claim_study_id)
    same_rows = and_(Conflict.held_study_id.in_(ends), Conflict.claim_study_id.in_(ends))
    return and_(same_rows, Conflict.sop_uid == about.sop_uid)


def _was_decided(session: Session, about: Conflict) -> bool:
    decided = select(Conflict.id).where(_is_about(about), Conflict.resolution.in_(_BY_DECISION))
    return session.scalar(decided.limit(1)) is not None


def _excluded_elsewhere(session: Session, study_id: int, about: Conflict) -> set[str]:
    """The objects of a row that decisions about other rows or objects excluded; "" stands for the whole row."""
    lost = or_(
        and_(Conflict.held_study_id == study_id, Conflict.resolution == ConflictEnd.CLAIM),
        and_(Conflict.claim_study_id == study_id, Conflict.resolution == ConflictEnd.HELD),
    )
    return set(session.scalars(select(Conflict.sop_uid).where(lost, not_(_is_about(about)))))


def _begin_revision(study: Study) -> None:
    study.revision += 1
    study.revision_at = now_utc()


def _unknown(number: int) -> UsageError:
    return UsageError(f"no conflict {number}: `auscult conflict list --all` has their numbers")
