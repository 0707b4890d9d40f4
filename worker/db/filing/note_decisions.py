"""Rejection notes for people: listed from the public view, accepted or revoked by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.db.answers.recompute import lock_study, recompute
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.identity.withdrawals import meet, studies_of
from worker.db.schema.sql import chunks, fitted
from worker.db.schema.states import NoteVerdict
from worker.db.schema.study import Image, RejectedObject, RejectionNote
from worker.db.schema.types import now_utc
from worker.db.schema.views import WITHDRAWALS, Row
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def withdrawals(session: Session, *, study_uids: tuple[str, ...] = (), states: tuple[str, ...] = ()) -> list[Row]:
    """The objects that rejection notes name, the newest note first; of these studies and in these states alone."""
    rows = select(WITHDRAWALS).order_by(WITHDRAWALS.c.note_id.desc(), WITHDRAWALS.c.sop_uid)
    if study_uids:
        rows = rows.where(WITHDRAWALS.c.study_uid.in_(study_uids))
    if states:
        rows = rows.where(WITHDRAWALS.c.state.in_(states))
    return [dict(row) for row in session.execute(rows).mappings()]


def revoke(session: Session, number: int, actor: Actor, why: str) -> None:
    """Let a note have no effect any more: the films that it named count again, in this transaction.

    Raises
    ------
    UsageError
        If there is no such note, or it was revoked before.
    """
    note = _locked(session, number)
    if note.revoked_at is not None:
        msg = f"note {number} was revoked before, by {note.revoked_by}"
        raise UsageError(msg)
    note.revoked_at = session.execute(select(now_utc())).scalar_one()
    kept = fitted(RejectionNote, {"revoked_by": actor.name, "revoked_why": why})
    note.revoked_by, note.revoked_why = kept["revoked_by"], kept["revoked_why"]
    _decided(session, note, actor, Act.REJECTION_NOTE_REVOKED, why)


def accept(session: Session, number: int, actor: Actor, why: str, *, restores: bool) -> None:
    """Follow a note whose sender is not listed, because a person vouches for it.

    `restores`: whether a withdrawn film that came again counts again, by the settings.

    Raises
    ------
    UsageError
        If there is no such note, or it was not refused for its sender.
    """
    note = _locked(session, number)
    if note.verdict is not NoteVerdict.SOURCE_NOT_LISTED or note.revoked_at is not None:
        msg = f"note {number} was not refused for its sender: there is nothing to accept"
        raise UsageError(msg)
    note.verdict = NoteVerdict.APPLIED
    kept = fitted(RejectionNote, {"accepted_by": actor.name, "accepted_why": why})
    note.accepted_by, note.accepted_why = kept["accepted_by"], kept["accepted_why"]
    session.flush()
    meet(session, _named(session, number), restores=restores)
    _decided(session, note, actor, Act.REJECTION_NOTE_ACCEPTED, why)


def _locked(session: Session, number: int) -> RejectionNote:
    """The note, with the rows whose answers it may change locked first, in their order."""
    note = session.get(RejectionNote, number)
    if note is None:
        msg = f"there is no rejection note {number}: 'auscult withdrawal list' shows them"
        raise UsageError(msg)
    images = {note.image_id}
    for some in chunks(_named(session, number)):
        images |= set(session.scalars(select(Image.id).where(Image.sop_uid.in_(some))))
    for study_id in sorted(studies_of(session, images)):
        lock_study(session, study_id)
    session.refresh(note, with_for_update=True)
    return note


def _named(session: Session, number: int) -> list[str]:
    of_note = select(RejectedObject.sop_uid).where(RejectedObject.note_id == number).distinct()
    return sorted(session.scalars(of_note))


def _decided(session: Session, note: RejectionNote, actor: Actor, act: Act, why: str) -> None:
    session.flush()
    record(
        session,
        act,
        actor,
        study_uid=note.study_uid,
        patient_key=note.patient_key,
        detail={"note": note.id, "title": note.title, "why": why},
    )
    for study_id in sorted(studies_of(session, {note.image_id})):
        recompute(session, study_id)
