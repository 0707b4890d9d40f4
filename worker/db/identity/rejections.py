"""Does a rejection note withdraw a film? The rules as pure functions: no SQL, no clock, independent of the order.

A note (IHE RAD IOCM) is followed for an image when its source is listed and study, patient, object, series and SOP class
are those that it names. The film must have come before the end of the note's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.header.rejection import RejectionTitle
from worker.db.schema.states import NoteEffect, NoteVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.addresses import ListedSource
    from worker.db.identity.rules import Patient

#: Seven days: how long a note waits for films that have not come yet.
WINDOW_MS = 7 * 24 * 3600 * 1000


class SentAgain(StrEnum):
    """What becomes of a rejected film that is sent again."""

    #: It does not count, and a refusal is recorded.
    REJECT = "reject"
    #: It does not count.
    IGNORE = "ignore"
    #: It counts again.
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class RejectionPolicy:
    """What a site has decided about rejection notes; by default no source is listed."""

    sources: tuple[ListedSource, ...] = ()
    quality: NoteEffect = NoteEffect.KEEPS_PNEUMONIA
    sent_again: SentAgain = SentAgain.REJECT
    window_ms: int = WINDOW_MS

    def lists(self, aet: str, peer: str, certificate: str = "") -> bool:
        """Whether a sender may reject objects: its AE title, with its address and certificate, is listed."""
        return any(source.is_of(aet, peer, certificate) for source in self.sources)

    def effect_of(self, title: RejectionTitle) -> NoteEffect:
        """What a note with this title does."""
        return self.quality if title is RejectionTitle.QUALITY else _EFFECTS[title]


_EFFECTS = {
    RejectionTitle.PATIENT_SAFETY: NoteEffect.WITHDRAWS,
    RejectionTitle.WORKLIST_ENTRY: NoteEffect.WITHDRAWS,
    RejectionTitle.RETENTION_EXPIRED: NoteEffect.EXPIRES,
    RejectionTitle.REVOKED: NoteEffect.RESTORES,
}


@dataclass(frozen=True, slots=True)
class ObjectIdentity:
    """An object as a note names it, or as an image on record has it; "" where a note does not say."""

    study_uid: str
    series_uid: str = ""
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class NoteTerms:
    """Study and patient of a note, and the times between which it holds, in ms of the database's clock."""

    study_uid: str
    patient: Patient
    at_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image on record, with the first and last arrival of its bytes in ms of the database's clock."""

    image_id: int
    identity: ObjectIdentity
    patient: Patient
    first_ms: int
    last_ms: int


def mismatch(note: NoteTerms, named: ObjectIdentity, image: HeldImage) -> NoteVerdict | None:
    """What of an image contradicts a note; None where it is the object that the note names."""
    held = image.identity
    checks = (
        (named.study_uid == note.study_uid == held.study_uid, NoteVerdict.STUDY_DIFFERS),
        (note.patient.is_same(image.patient), NoteVerdict.PATIENT_DIFFERS),
        (named.series_uid in ("", held.series_uid), NoteVerdict.SERIES_DIFFERS),
        (named.sop_class_uid in ("", held.sop_class_uid), NoteVerdict.CLASS_DIFFERS),
    )
    return next((verdict for holds, verdict in checks if not holds), None)


def verdicts(
    note: NoteTerms, named: ObjectIdentity, images: Sequence[HeldImage], *, restores: bool
) -> dict[int, NoteVerdict]:
    """What a note means for each image with the SOP Instance UID of one of its objects, by image.

    Parameters
    ----------
    note, named
        The note and the object as it names it.
    images
        All images on record with the object's SOP Instance UID.
    restores
        Whether a film that comes again after it was rejected counts again.

    Returns
    -------
    dict of int to NoteVerdict
        The images that match are versions of one film: its first arrival decides whether the note still held, and its
        last one whether it was sent again. A first arrival after the note is not "again".
    """
    found = {image.image_id: mismatch(note, named, image) for image in images}
    film = [image for image in images if found[image.image_id] is None]
    if not film:
        return {image_id: verdict for image_id, verdict in found.items() if verdict}
    first, last = min(image.first_ms for image in film), max(image.last_ms for image in film)
    matched = NoteVerdict.APPLIED
    if first > note.until_ms:
        matched = NoteVerdict.TOO_LATE
    elif restores and is_again(note, first, last):
        matched = NoteVerdict.RESTORED
    return {image_id: verdict or matched for image_id, verdict in found.items()}


def is_again(note: NoteTerms, first_ms: int, arrived_ms: int) -> bool:
    """Whether an arrival of a film that came first at `first_ms` came after the note and is not the film's first."""
    return arrived_ms > max(note.at_ms, first_ms)
