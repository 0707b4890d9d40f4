"""Conflicts between two rows: opened, withdrawn by their sources, closed, and what they mean for a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, insert, or_, select, true, update
from sqlalchemy.orm import aliased

from worker.db.identity.rules import Transmission
from worker.db.identity.rules import is_withdrawn as is_contradiction_withdrawn
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.schema.sql import fitted
from worker.db.schema.states import ConflictEnd, ConflictKind
from worker.db.schema.study import Conflict, Image, Receipt, RejectionNote, Study
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

#: `conflict.who` of a conflict that ended by what its sources sent.
SOURCE = "source"
_WITHDRAWN_WHY = "every source of the contradicting objects has since sent them in the study that held them"


# Built once: each registration executes it.
_UNDECIDED = select(Conflict).where(
    or_(Conflict.sop_uid == bindparam("sop"), Conflict.sop_uid == ""),
    or_(Conflict.held_study_id == bindparam("row"), Conflict.claim_study_id == bindparam("row")),
    or_(Conflict.closed_at.is_(None), Conflict.resolution == ConflictEnd.WITHDRAWN),
)
_UNDECIDED_AMONG = select(Conflict.held_study_id, Conflict.claim_study_id).where(
    or_(
        Conflict.held_study_id.in_(bindparam("rows", expanding=True)),
        Conflict.claim_study_id.in_(bindparam("rows", expanding=True)),
    ),
    or_(Conflict.closed_at.is_(None), Conflict.resolution == ConflictEnd.WITHDRAWN),
)


def undecided_among(session: Session, study_ids: Sequence[int]) -> set[int]:
    """Those of these rows with a conflict that nobody has decided, and the rows at the other ends."""
    ends = session.execute(_UNDECIDED_AMONG, {"rows": list(study_ids)}).all()
    return {study_id for row in ends for study_id in row}


def open_conflict(session: Session, kind: ConflictKind, held_id: int, claim_id: int, sop_uid: str = "") -> None:
    """Open a conflict between two rows unless one is open; the caller holds the locks of both rows."""
    pair = {held_id, claim_id}
    same = select(Conflict.id).where(
        Conflict.closed_at.is_(None),
        Conflict.sop_uid == sop_uid,
        Conflict.held_study_id.in_(pair),
        Conflict.claim_study_id.in_(pair),
    )
    if session.execute(same.limit(1)).first() is None:
        values = {"kind": kind, "held_study_id": held_id, "claim_study_id": claim_id, "sop_uid": sop_uid}
        session.execute(insert(Conflict).values(**values, opened_at=now_utc()))


def close(session: Session, conflict_id: int, end: ConflictEnd, who: str, why: str) -> None:
    """Close a conflict, or change how a closed one ended."""
    texts = fitted(Conflict, {"who": who, "why": why})
    _update(session, Conflict.id == conflict_id, closed_at=now_utc(), resolution=end, **texts)


def has_conflict(study_id: Any, *, counts_withdrawn: bool = False) -> ColumnElement[bool]:
    """SQL: whether a row is in doubt by a conflict; a withdrawn one counts as long as the object does in this row.

    A conflict with a row whose contradicting films are all withdrawn by rejection notes is no doubt. `counts_withdrawn`:
    such films count too, which is much quicker to ask and says "no" for most rows.
    """
    still_counts = (
        exists()
        .where(
            Image.study_id == study_id, Image.is_current, or_(Conflict.sop_uid == "", Image.sop_uid == Conflict.sop_uid)
        )
        .correlate(Conflict, Study)
    )
    ends = (Conflict.held_study_id, Conflict.claim_study_id)
    named = [
        own == study_id if counts_withdrawn else and_(own == study_id, ~_is_taken_back(other))
        for own, other in (ends, ends[::-1])
    ]
    is_open = and_(Conflict.closed_at.is_(None), or_(*named))
    is_withdrawn_here = and_(
        Conflict.claim_study_id == study_id, Conflict.resolution == ConflictEnd.WITHDRAWN, still_counts
    )
    return exists().where(or_(is_open, is_withdrawn_here))


def _is_taken_back(study_id: Any) -> ColumnElement[bool]:
    """SQL: whether every film of one side that a conflict is about is withdrawn, or none was there but rejection notes."""
    film = aliased(Image)
    about = and_(
        film.study_id == study_id, film.is_current, or_(Conflict.sop_uid == "", film.sop_uid == Conflict.sop_uid)
    )
    is_note = exists().where(RejectionNote.image_id == film.id).correlate(film)
    there, left = (
        exists(select(film.id).where(about, *further).correlate(Conflict))
        for further in ((), (~is_withdrawn(film), ~is_note))
    )
    return and_(there, ~left)


def move_conflicts(  # noqa: PLR0913 - which conflicts, and for the record who and why
    session: Session,
    gone_id: int,
    kept_id: int,
    *,
    who: str,
    why: str,
    sop_uid: str | None = None,
    decided: bool = True,
) -> None:
    """Move the conflicts of a row to the row that its films moved to; conflicts between the two rows end.

    `sop_uid`: only this film moved. `decided`: also those that a person decided.
    """
    named = or_(Conflict.held_study_id == gone_id, Conflict.claim_study_id == gone_id)
    if not decided:
        named = and_(named, or_(Conflict.closed_at.is_(None), Conflict.resolution == ConflictEnd.WITHDRAWN))
    scope = true() if sop_uid is None else Conflict.sop_uid == sop_uid
    for conflict in session.scalars(select(Conflict).where(named, scope).order_by(Conflict.id)).all():
        ends = {kept_id if end == gone_id else end for end in (conflict.held_study_id, conflict.claim_study_id)}
        is_undecided = conflict.closed_at is None or conflict.resolution is ConflictEnd.WITHDRAWN
        is_double = conflict.closed_at is None and _is_open_between(session, ends, conflict.sop_uid)
        if is_undecided and (len(ends) == 1 or is_double):
            close(session, conflict.id, ConflictEnd.SAME, who, why)
        elif len(ends) == 2:
            swap = {name: kept_id for name in ("held_study_id", "claim_study_id") if getattr(conflict, name) == gone_id}
            _update(session, Conflict.id == conflict.id, **swap)


def _is_open_between(session: Session, ends: set[int], sop_uid: str) -> bool:
    between = and_(Conflict.held_study_id.in_(ends), Conflict.claim_study_id.in_(ends))
    found = select(Conflict.id).where(between, Conflict.closed_at.is_(None), Conflict.sop_uid == sop_uid)
    return session.execute(found.limit(1)).first() is not None


def by_age(session: Session, study_ids: Iterable[int], sop_uid: str = "") -> list[int]:
    """Rows in the order of their first objects, or of those of one SOP Instance UID."""
    ids = sorted(study_ids)
    if len(ids) < 2:
        return ids
    arrivals = select(Image.study_id, func.min(Receipt.first_at_ms)).join(Receipt, Receipt.image_id == Image.id)
    of_object = arrivals.where(Image.sop_uid == sop_uid) if sop_uid else arrivals
    rows = session.execute(of_object.where(Image.study_id.in_(ids)).group_by(Image.study_id)).all()
    first = {row[0]: row[1] for row in rows}
    return sorted(ids, key=lambda study_id: (first.get(study_id, 0), study_id))


def review(session: Session, study_id: int, sop_uid: str) -> set[int]:
    """Close or reopen the conflicts of a row after one of its objects came: sources may withdraw or repeat a contradiction.

    Returns the rows whose conflicts changed. A withdrawn object goes on counting in its own row, which alone stays in
    doubt: a film is not lost because its UID belongs to another one.
    """
    touched: set[int] = set()
    for conflict in session.scalars(_UNDECIDED, {"row": study_id, "sop": sop_uid}).all():
        ends = {conflict.held_study_id, conflict.claim_study_id}
        if _put_in_order(session, conflict):
            touched |= ends
        is_over = _is_withdrawn(session, conflict)
        if is_over and conflict.closed_at is None:
            close(session, conflict.id, ConflictEnd.WITHDRAWN, SOURCE, _WITHDRAWN_WHY)
        elif not is_over and conflict.closed_at is not None and not _is_open_between(session, ends, conflict.sop_uid):
            _update(session, Conflict.id == conflict.id, closed_at=None, resolution=None, who=None, why=None)
        else:
            continue
        touched |= ends
    return touched


def _put_in_order(session: Session, conflict: Conflict) -> bool:
    """Make the row that came first the held one, though it may be registered last; whether that swapped the sides."""
    held, claim = by_age(session, (conflict.held_study_id, conflict.claim_study_id), conflict.sop_uid)
    is_new = held != conflict.held_study_id
    if is_new:
        _update(session, Conflict.id == conflict.id, held_study_id=held, claim_study_id=claim)
    return is_new


def _is_withdrawn(session: Session, conflict: Conflict) -> bool:
    claim, held = (
        transmissions_in(session, study_id, conflict.sop_uid)
        for study_id in (conflict.claim_study_id, conflict.held_study_id)
    )
    return is_contradiction_withdrawn(claim, held)


def transmissions_in(session: Session, study_id: int, sop_uid: str = "") -> list[tuple[str, Transmission]]:
    """The transmissions of the objects of a row with their SOP Instance UIDs, or of one UID."""
    wanted = [Image.study_id == study_id] + ([Image.sop_uid == sop_uid] if sop_uid else [])
    rows = session.execute(
        select(Image.sop_uid, Image.sha256, Receipt.source, Receipt.first_at_ms, Receipt.last_at_ms)
        .join(Receipt, Receipt.image_id == Image.id)
        .where(*wanted)
    ).all()
    return [(uid, Transmission(sha256, source, first, last)) for uid, sha256, source, first, last in rows]


def _update(session: Session, condition: ColumnElement[bool], **values: Any) -> None:
    session.execute(update(Conflict).where(condition).values(**values).execution_options(synchronize_session="fetch"))
