"""Rejection notes (IHE RAD IOCM): what the hospital has taken back, and what came of it for each image.

`schema.study` names these tables too: import from there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from worker.db.schema.base import Base, one_of
from worker.db.schema.states import NoteEffect, NoteVerdict
from worker.db.schema.types import EnumText, UtcDateTime


class RejectionNote(Base):
    """A Key Object Selection Document with a rejection title; rows are only added, and revoked."""

    __tablename__ = "rejection_note"
    __table_args__ = (
        one_of("effect", NoteEffect, "effect"),
        one_of("verdict", NoteVerdict, "verdict"),
        CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="revoked_has_who"),
        Index("ix_rejection_note_study_uid", "study_uid"),
        {"comment": "a Key Object Selection Document with a rejection title (IHE RAD IOCM)"},
    )

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), unique=True, comment="the document itself")
    title: Mapped[str] = mapped_column(String(16), comment="code of its title: 113001, 113037, 113038, 113039")
    effect: Mapped[NoteEffect] = mapped_column(
        EnumText(NoteEffect, 16), comment="what it does to the films it names, by title and settings"
    )
    verdict: Mapped[NoteVerdict] = mapped_column(
        EnumText(NoteVerdict, 24), comment="APPLIED, or why the note as a whole has no effect"
    )
    study_uid: Mapped[str] = mapped_column(String(64), comment="its Study Instance UID (0020,000D)")
    patient_key: Mapped[str] = mapped_column(String(64), comment="SHA-256 of its Patient ID, empty where it has none")
    issuer_of_patient_id: Mapped[str] = mapped_column(String(64), comment="Issuer of Patient ID (0010,0021)")
    source: Mapped[str] = mapped_column(String(64), comment="AE title of its sender")
    peer: Mapped[str] = mapped_column(String(64), comment="address of its sender")
    certificate: Mapped[str] = mapped_column(
        String(64),
        server_default="",
        comment="SHA-256 of the TLS certificate that its sender showed, empty without TLS",
    )
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it came")
    at_ms: Mapped[int] = mapped_column(BigInteger, comment="when it came (database clock)")
    until_ms: Mapped[int] = mapped_column(
        BigInteger, comment="films that come first after that do not fall under it (database clock)"
    )
    accepted_by: Mapped[str | None] = mapped_column(String(128), comment="who vouches for a note that was refused")
    accepted_why: Mapped[str | None] = mapped_column(Text, comment="why")
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when it was revoked by command")
    revoked_by: Mapped[str | None] = mapped_column(String(128), comment="who revoked it")
    revoked_why: Mapped[str | None] = mapped_column(Text, comment="why")


class RejectedObject(Base):
    """An object that a rejection note names."""

    __tablename__ = "rejected_object"
    __table_args__ = (
        UniqueConstraint(
            "note_id", "sop_uid", "study_uid", "series_uid", "sop_class_uid", name="uq_rejected_object_as_named"
        ),
        Index("ix_rejected_object_sop_uid", "sop_uid"),
        {"comment": "an object that a rejection note names"},
    )

    note_id: Mapped[int] = mapped_column(ForeignKey("rejection_note.id"), comment="the note")
    study_uid: Mapped[str] = mapped_column(String(64), comment="Study Instance UID (0020,000D)")
    series_uid: Mapped[str] = mapped_column(String(64), comment="Series Instance UID (0020,000E), empty: not said")
    sop_class_uid: Mapped[str] = mapped_column(
        String(64), comment="Referenced SOP Class UID (0008,1150), empty: not said"
    )
    sop_uid: Mapped[str] = mapped_column(String(64), comment="Referenced SOP Instance UID (0008,1155)")


class Withdrawal(Base):
    """What came of a rejected object for one image that has its SOP Instance UID."""

    __tablename__ = "withdrawal"
    __table_args__ = (
        one_of("verdict", NoteVerdict, "verdict"),
        UniqueConstraint("rejected_object_id", "image_id"),
        Index("ix_withdrawal_image_id", "image_id"),
        {"comment": "what came of a rejection note for one image"},
    )

    rejected_object_id: Mapped[int] = mapped_column(
        ForeignKey("rejected_object.id"), comment="the object as the note names it"
    )
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), comment="the image")
    verdict: Mapped[NoteVerdict] = mapped_column(
        EnumText(NoteVerdict, 24), comment="APPLIED, or why the note has no effect on this image"
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when note and image met, or the verdict changed")
