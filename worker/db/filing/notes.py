"""Rejection notes become rows, in the transaction that registers the document or a film that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select

from dicom_io.reasons import Reason
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.identity.rejections import RejectionPolicy, SentAgain, is_again
from worker.db.identity.withdrawals import WITHDRAWING, is_withdrawn, meet, studies_of, terms_of
from worker.db.schema.sql import chunks, fitted, insert_unless_there
from worker.db.schema.states import NoteVerdict
from worker.db.schema.study import Image, Receipt, Refusal, RejectedObject, RejectionNote, Study, Withdrawal

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from dicom_io.header.rejection import RejectionDocument
    from worker.db.identity.arrivals import Arrival


def rows_named(session: Session, document: RejectionDocument | None) -> set[int]:
    """The rows whose answers a document may change, to be locked with those of its own study."""
    if document is None:
        return set()
    images: set[int] = set()
    for some in chunks([reference.sop_uid for reference in document.references]):
        images |= set(session.scalars(select(Image.id).where(Image.sop_uid.in_(some))))
    return studies_of(session, images)


# Built once: each registration executes it.
_MET = (
    select(Withdrawal.id)
    .where(Withdrawal.image_id == bindparam("image"), Withdrawal.verdict == NoteVerdict.APPLIED)
    .limit(1)
)


def follow_notes(
    session: Session,
    arrival: Arrival,
    image_id: int,
    document: RejectionDocument | None,
    policy: RejectionPolicy,
) -> set[int]:
    """Apply the rejection notes that an arrival brings or falls under. Returns the rows whose answers may change.

    The caller holds the locks of the study's rows.
    """
    sop_uids = {arrival.facts.sop_uid}
    if document is not None:
        _put_on_record(session, arrival, image_id, document, policy)
        sop_uids |= {reference.sop_uid for reference in document.references}
    changed = meet(session, sorted(sop_uids), restores=policy.sent_again is SentAgain.RESTORE)
    _refuse_again(session, arrival, image_id, policy)
    if not changed:
        return set()
    _record_withdrawals(session, arrival, changed)
    return studies_of(session, changed)


def _put_on_record(
    session: Session, arrival: Arrival, image_id: int, document: RejectionDocument, policy: RejectionPolicy
) -> None:
    """Add the note of a document; the same document again may come from a listed source for the first time."""
    facts = arrival.facts
    is_sender = arrival.source == facts.calling_aet
    is_listed = is_sender and policy.lists(arrival.source, facts.peer, facts.certificate)
    verdict = NoteVerdict.SOURCE_NOT_LISTED if not is_listed else NoteVerdict.APPLIED
    if is_listed and document.defect:
        verdict = NoteVerdict(document.defect.value)
    known = session.scalar(select(RejectionNote).where(RejectionNote.image_id == image_id).with_for_update())
    if known is not None:
        _came_again(session, known, verdict, arrival, policy)
        return
    values = fitted(
        RejectionNote,
        {
            "image_id": image_id,
            "title": document.title.value,
            "effect": policy.effect_of(document.title),
            "verdict": verdict,
            "study_uid": facts.study_uid,
            "patient_key": arrival.named.key,
            "issuer_of_patient_id": arrival.named.issuer,
            "source": arrival.source,
            "peer": facts.peer,
            "certificate": facts.certificate,
            "received_at": arrival.at,
            "at_ms": arrival.arrived_ms,
            "until_ms": arrival.arrived_ms + policy.window_ms,
        },
    )
    note_id = session.execute(insert(RejectionNote).values(values).returning(RejectionNote.id)).scalar_one()
    rows = [
        {
            "note_id": note_id,
            "study_uid": reference.study_uid,
            "series_uid": reference.series_uid,
            "sop_class_uid": reference.sop_class_uid,
            "sop_uid": reference.sop_uid,
        }
        for reference in document.references
    ]
    for some in chunks(rows):
        session.execute(insert(RejectedObject), some)
    _record_note(session, arrival, values, len(rows))


def _came_again(
    session: Session, note: RejectionNote, verdict: NoteVerdict, arrival: Arrival, policy: RejectionPolicy
) -> None:
    """A note that is sent again holds from its first arrival, or from the first by a listed source."""
    is_first_listed = note.verdict is NoteVerdict.SOURCE_NOT_LISTED and verdict is not NoteVerdict.SOURCE_NOT_LISTED
    is_earlier = arrival.arrived_ms < note.at_ms and verdict is note.verdict
    if not (is_first_listed or is_earlier):
        return
    if is_first_listed:
        note.verdict = verdict
        kept = fitted(RejectionNote, {"source": arrival.source, "peer": arrival.facts.peer})
        note.source, note.peer, note.received_at = kept["source"], kept["peer"], arrival.at
        note.certificate = arrival.facts.certificate
    note.at_ms, note.until_ms = arrival.arrived_ms, arrival.arrived_ms + policy.window_ms
    session.flush()


def _refuse_again(session: Session, arrival: Arrival, image_id: int, policy: RejectionPolicy) -> None:
    """Record the refusal of a withdrawn film that was sent again."""
    # Most images have met no note: this is asked first, because the whole condition takes its time.
    if policy.sent_again is not SentAgain.REJECT or session.execute(_MET, {"image": image_id}).first() is None:
        return
    named = (
        select(RejectionNote)
        .join(RejectedObject, RejectedObject.note_id == RejectionNote.id)
        .join(Withdrawal, Withdrawal.rejected_object_id == RejectedObject.id)
        .join(Image, Image.id == Withdrawal.image_id)
        .where(
            Image.id == image_id,
            Withdrawal.verdict == NoteVerdict.APPLIED,
            RejectionNote.effect.in_(WITHDRAWING),
            is_withdrawn(Image),
        )
    )
    notes = session.scalars(named).all()
    if not notes:
        return
    of_film = select(Receipt.first_at_ms).join(Image, Image.id == Receipt.image_id)
    first = min(
        session.scalars(
            of_film.where(
                Image.sop_uid == arrival.facts.sop_uid,
                Image.study_id.in_(select(Image.study_id).where(Image.id == image_id)),
            )
        )
    )
    if not any(is_again(terms_of(note), first, arrival.arrived_ms) for note in notes):
        return
    facts = arrival.facts
    row = {
        # The name of the copy: an entry that is registered again adds nothing.
        "uid": arrival.store_key,
        "at": arrival.at,
        "kind": "object",
        "reason_code": Reason.REJECTED_BEFORE.value,
        "calling_aet": arrival.source,
        "called_aet": "",
        "peer": facts.peer,
        "study_uid": facts.study_uid,
        "sop_uid": facts.sop_uid,
        "times": 1,
    }
    insert_unless_there(session, Refusal, [row], "uid")


def _record_note(session: Session, arrival: Arrival, note: dict[str, object], objects: int) -> None:
    is_applied = note["verdict"] == NoteVerdict.APPLIED
    record(
        session,
        Act.REJECTION_NOTE_RECEIVED if is_applied else Act.REJECTION_NOTE_REFUSED,
        Actor(arrival.source, arrival.facts.peer),
        study_uid=arrival.facts.study_uid,
        patient_key=arrival.named.key,
        sop_uid=arrival.facts.sop_uid,
        detail={
            "title": note["title"],
            "verdict": str(note["verdict"]),
            "objects": objects,
            "certificate": arrival.facts.certificate,
        },
    )


def _record_withdrawals(session: Session, arrival: Arrival, image_ids: Collection[int]) -> None:
    """Record which rows lost or regained films; one event for each row and verdict."""
    counted: dict[tuple[str, int, str, NoteVerdict], int] = {}
    for some in chunks(sorted(image_ids)):
        rows = session.execute(
            select(Study.study_uid, Study.side, Image.patient_key, Withdrawal.verdict)
            .join(Image, Image.study_id == Study.id)
            .join(Withdrawal, Withdrawal.image_id == Image.id)
            .where(Image.id.in_(some), Withdrawal.verdict.in_(tuple(_ACTS)))
        ).all()
        for study_uid, side, patient_key, verdict in rows:
            key = (study_uid, side, patient_key, verdict)
            counted[key] = counted.get(key, 0) + 1
    for (study_uid, side, patient_key, verdict), films in sorted(counted.items()):
        record(
            session,
            _ACTS[verdict],
            Actor(arrival.source, arrival.facts.peer),
            study_uid=study_uid,
            side=side,
            patient_key=patient_key,
            detail={"images": films},
        )


_ACTS = {NoteVerdict.APPLIED: Act.STUDY_WITHDRAWN, NoteVerdict.RESTORED: Act.STUDY_RESTORED}
