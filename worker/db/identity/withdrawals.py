"""Which films are withdrawn: the one condition in SQL, and what rejection notes and images on record mean for each other.

A film's withdrawal follows from rows alone: what came of notes for its image (`withdrawal`), and whether these notes are
in force. So revoking a note changes one row, and films that move to another row take their withdrawal along.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from worker.db.identity.aliases import Aliases
from worker.db.identity.rejections import HeldImage, NoteTerms, ObjectIdentity, verdicts
from worker.db.identity.rules import Patient
from worker.db.schema.sql import chunks
from worker.db.schema.states import NoteEffect, NoteVerdict
from worker.db.schema.study import Conflict, Image, Receipt, RejectedObject, RejectionNote, Study, Withdrawal
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.orm import Session

#: Effects by which a film does not count; a note that is itself named by such a note is revoked.
WITHDRAWING = (NoteEffect.WITHDRAWS, NoteEffect.KEEPS_PNEUMONIA)


def is_withdrawn(image: Any = Image, effects: Sequence[NoteEffect] = WITHDRAWING) -> ColumnElement[bool]:
    """SQL: whether a note in force withdraws an image, by one of these effects.

    A note is in force unless its source is not listed, it was revoked by command, or another note rejects it. A later
    note that restores the image outweighs it. A note that rejects the rejection of a note changes nothing: the source
    sends a new one instead.
    """
    met, named, note = aliased(Withdrawal), aliased(RejectedObject), aliased(RejectionNote)
    return exists(
        select(met.id)
        .join(named, named.id == met.rejected_object_id)
        .join(note, note.id == named.note_id)
        .where(
            met.image_id == image.id,
            met.verdict == NoteVerdict.APPLIED,
            note.effect.in_(effects),
            is_in_force(note),
            ~_applies(image.id, (NoteEffect.RESTORES,), after=note),
        )
        .correlate(image)
    )


# Built once: each film executes it.
_MET = (
    select(Image.study_id)
    .join(Withdrawal, Withdrawal.image_id == Image.id)
    .where(Image.study_id.in_(bindparam("studies", expanding=True)))
    .distinct()
)


def withdrawn_in(session: Session, study_ids: Sequence[int]) -> dict[int, dict[int, NoteEffect]]:
    """By row the images that notes withdraw, with the stronger effect; most rows have none, which is asked first."""
    some = session.scalars(_MET, {"studies": list(study_ids)}).all()
    found: dict[int, dict[int, NoteEffect]] = {study_id: {} for study_id in some}
    for effect in reversed(WITHDRAWING) if some else ():
        images = select(Image.study_id, Image.id).where(Image.study_id.in_(some), is_withdrawn(effects=(effect,)))
        for study_id, image_id in session.execute(images):
            found[study_id][image_id] = effect
    return found


def is_expired(image: Any = Image) -> ColumnElement[bool]:
    """SQL: whether the archive's own time of retention for an image is over (113039): its answer stays.

    The site's rule of retention reads this: such an image may be deleted by it earlier, and nothing else follows.
    """
    return is_withdrawn(image, (NoteEffect.EXPIRES,))


def is_in_force(note: Any = RejectionNote) -> ColumnElement[bool]:
    """SQL: whether a note has an effect."""
    return and_(_is_followed(note), ~_applies(note.image_id, WITHDRAWING))


def _is_followed(note: Any) -> ColumnElement[bool]:
    return and_(note.verdict == NoteVerdict.APPLIED, note.revoked_at.is_(None))


def _applies(image_id: Any, effects: Sequence[NoteEffect], after: Any = None) -> ColumnElement[bool]:
    """SQL: whether a note with one of these effects was applied to an image, after another one if that is given."""
    met, named, note = aliased(Withdrawal), aliased(RejectedObject), aliased(RejectionNote)
    wanted = [met.image_id == image_id, met.verdict == NoteVerdict.APPLIED, note.effect.in_(effects)]
    if after is not None:
        wanted.append(note.at_ms > after.at_ms)
    return exists(
        select(met.id)
        .join(named, named.id == met.rejected_object_id)
        .join(note, note.id == named.note_id)
        .where(*wanted, _is_followed(note))
        .correlate(*({image_id.class_} | ({after} if after is not None else set())))
    )


# Built once: each registration executes it.
_NAMED = (
    select(RejectedObject, RejectionNote)
    .join(RejectionNote, RejectionNote.id == RejectedObject.note_id)
    .where(RejectedObject.sop_uid.in_(bindparam("sops", expanding=True)), RejectionNote.verdict == NoteVerdict.APPLIED)
    .order_by(RejectedObject.id)
)


def meet(session: Session, sop_uids: Sequence[str], *, restores: bool) -> set[int]:
    """Apply notes to images with these SOP Instance UIDs, as far as both are on record. Returns the images that changed.

    `restores`: whether a rejected film that came again counts again. The caller holds the locks of the studies.
    """
    changed: set[int] = set()
    for some in chunks(sop_uids):
        named = session.execute(_NAMED, {"sops": list(some)}).all()
        if not named:
            continue
        aliases = Aliases(session)
        images = _held(session, aliases, {item.sop_uid for item, _ in named})
        known = _known(session, [item.id for item, _ in named])
        for item, note in named:
            identity = ObjectIdentity(item.study_uid, item.series_uid, item.sop_class_uid)
            found = verdicts(terms_of(note, aliases), identity, images[item.sop_uid], restores=restores)
            changed |= _write(session, item.id, found, known.get(item.id, {}))
    return changed


def terms_of(note: RejectionNote, aliases: Aliases | None = None) -> NoteTerms:
    """What of a note the rules read; with `aliases` of the patient who is meant by now."""
    patient = Patient(note.patient_key, note.issuer_of_patient_id)
    return NoteTerms(note.study_uid, aliases.of(patient) if aliases else patient, note.at_ms, note.until_ms)


def _write(session: Session, object_id: int, found: dict[int, NoteVerdict], known: dict[int, NoteVerdict]) -> set[int]:
    """Write what changed; a film that was restored stays so."""
    changed = {
        image_id: verdict
        for image_id, verdict in found.items()
        if known.get(image_id) not in (verdict, NoteVerdict.RESTORED)
    }
    for image_id, verdict in changed.items():
        values = {"verdict": verdict, "at": now_utc()}
        key = {"rejected_object_id": object_id, "image_id": image_id}
        if image_id in known:
            of_image = [getattr(Withdrawal, name) == value for name, value in key.items()]
            session.execute(
                update(Withdrawal).where(*of_image).values(values).execution_options(synchronize_session=False)
            )
        else:
            session.execute(insert(Withdrawal).values(key | values))
    return set(changed)


def _known(session: Session, object_ids: Sequence[int]) -> dict[int, dict[int, NoteVerdict]]:
    columns = (Withdrawal.rejected_object_id, Withdrawal.image_id, Withdrawal.verdict)
    found: dict[int, dict[int, NoteVerdict]] = defaultdict(dict)
    for some in chunks(object_ids):
        for object_id, image_id, verdict in session.execute(
            select(*columns).where(Withdrawal.rejected_object_id.in_(some))
        ).all():
            found[object_id][image_id] = verdict
    return found


def _held(session: Session, aliases: Aliases, sop_uids: Collection[str]) -> dict[str, list[HeldImage]]:
    """The images on record with these SOP Instance UIDs."""
    rows = session.execute(
        select(
            Image,
            Study.study_uid,
            Study.patient_id,
            Study.issuer_of_patient_id,
            func.min(Receipt.first_at_ms),
            func.max(Receipt.last_at_ms),
        )
        .join(Study, Study.id == Image.study_id)
        .outerjoin(Receipt, Receipt.image_id == Image.id)
        .where(Image.sop_uid.in_(sop_uids))
        .group_by(Image.id, Study.id)
        .order_by(Image.id)
    ).all()
    found: dict[str, list[HeldImage]] = defaultdict(list)
    for image, study_uid, patient_id, issuer, first_ms, last_ms in rows:
        # An image from before schema 0005 has none of these columns; its patient is that of its row.
        is_known = image.patient_key or image.pixel_sha256 or not image.has_pixel_data
        own = Patient(image.patient_key, image.issuer_of_patient_id)
        patient = aliases.of(own if is_known else Patient.of(patient_id, issuer))
        identity = ObjectIdentity(study_uid, image.series_uid, image.sop_class_uid)
        found[image.sop_uid].append(HeldImage(image.id, identity, patient, first_ms or 0, last_ms or 0))
    return found


def studies_of(session: Session, image_ids: Iterable[int]) -> set[int]:
    """The rows whose answers depend on the withdrawal of these images.

    Of an image that is a note, the rows of the images that it names, too. Rows in conflict with one of them, because a
    conflict with a row of which no film counts is no doubt.
    """
    images = set(image_ids)
    # Twice: a note may name a note, which names films.
    for _ in range(2):
        images |= _named_by(session, images)
    found: set[int] = set()
    for some in chunks(sorted(images)):
        found |= set(session.scalars(select(Image.study_id).where(Image.id.in_(some))))
    return found | partners_of(session, found)


def _named_by(session: Session, image_ids: Collection[int]) -> set[int]:
    """The images that met notes among these images."""
    found: set[int] = set()
    for some in chunks(sorted(image_ids)):
        found |= set(
            session.scalars(
                select(Withdrawal.image_id)
                .join(RejectedObject, RejectedObject.id == Withdrawal.rejected_object_id)
                .join(RejectionNote, RejectionNote.id == RejectedObject.note_id)
                .where(RejectionNote.image_id.in_(some))
            )
        )
    return found


def partners_of(session: Session, study_ids: Collection[int]) -> set[int]:
    """The rows that are in an undecided conflict with one of these."""
    found: set[int] = set()
    for some in chunks(sorted(study_ids)):
        ends = select(Conflict.held_study_id, Conflict.claim_study_id).where(
            or_(Conflict.held_study_id.in_(some), Conflict.claim_study_id.in_(some)), Conflict.closed_at.is_(None)
        )
        found |= {study_id for row in session.execute(ends).all() for study_id in row}
    return found
