"""What the hospital has corrected after the fact: rejection notes (IHE RAD IOCM) and patient merges, and what came of them.

`schema.study` names these tables too: import from there.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.db.schema.states import MergeKind, NoteEffect, NoteVerdict
from worker.db.schema.types import Base, EnumText, UtcDateTime, one_of


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


class PatientMerge(Base):
    """A patient merge: films that name the old ID are of the patient with the new one; rows are only added, and ended."""

    __tablename__ = "patient_merge"
    __table_args__ = (
        one_of("kind", MergeKind, "kind"),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_has_who"),
        Index(
            "uq_patient_merge_in_force",
            "old_key",
            "old_issuer",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
            sqlite_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_patient_merge_new_key",
            "new_key",
            postgresql_where=text("ended_at IS NULL"),
            sqlite_where=text("ended_at IS NULL"),
        ),
        {"comment": "a patient merge or a change of Patient ID, in force until it is ended"},
    )

    kind: Mapped[MergeKind] = mapped_column(EnumText(MergeKind, 16), comment="MERGE (A40) or RENAME (A47)")
    old_patient_id: Mapped[str] = mapped_column(String(128), comment="Patient ID that is not used any more")
    old_issuer: Mapped[str] = mapped_column(String(64), comment="its issuer; empty: whatever the issuer")
    new_patient_id: Mapped[str] = mapped_column(String(128), comment="Patient ID that survives")
    new_issuer: Mapped[str] = mapped_column(String(64), comment="its issuer; empty: that of the film")
    old_key: Mapped[str] = mapped_column(String(64), comment="SHA-256 of the old Patient ID, as in image")
    new_key: Mapped[str] = mapped_column(String(64), comment="SHA-256 of the new Patient ID, as in image")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it became known")
    who: Mapped[str] = mapped_column(String(128), comment="who or what said so")
    why: Mapped[str] = mapped_column(Text, comment="why")
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when it was taken back; NULL: in force")
    ended_by: Mapped[str | None] = mapped_column(String(128), comment="who took it back")
    ended_why: Mapped[str | None] = mapped_column(Text, comment="why")


class StudyHeader(Base):
    """What the newest object that names one of several merged patients says of patient and study: for the way back."""

    __tablename__ = "study_header"
    __table_args__ = (
        UniqueConstraint("study_id", "patient_key", "issuer_of_patient_id"),
        {"comment": "patient and study columns by the patient that films of a study name, while a merge joins them"},
    )

    study_id: Mapped[int] = mapped_column(
        ForeignKey("study.id"), comment="the row that is this patient's without the merge"
    )
    patient_key: Mapped[str] = mapped_column(String(64), comment="SHA-256 of the Patient ID that its films name")
    patient_id: Mapped[str] = mapped_column(String(128), comment="Patient ID (0010,0020)")
    issuer_of_patient_id: Mapped[str] = mapped_column(String(64), comment="Issuer of Patient ID (0010,0021)")
    patient_name: Mapped[str] = mapped_column(String(512), comment="Patient's Name (0010,0010)")
    patient_birth_date: Mapped[date | None] = mapped_column(Date, comment="Patient's Birth Date (0010,0030)")
    patient_sex: Mapped[str] = mapped_column(String(16), comment="Patient's Sex (0010,0040)")
    accession_number: Mapped[str] = mapped_column(String(64), comment="Accession Number (0008,0050)")
    study_date: Mapped[date | None] = mapped_column(Date, comment="Study Date (0008,0020)")
    study_description: Mapped[str] = mapped_column(String(255), comment="Study Description (0008,1030)")
    requested_priority: Mapped[str] = mapped_column(
        String(16), comment="Requested Procedure Priority (0040,1003), or what stands for it"
    )
    columns_at_ms: Mapped[int] = mapped_column(BigInteger, comment="arrival of the object (database clock)")
