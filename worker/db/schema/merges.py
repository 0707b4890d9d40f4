"""Patients who are one person by a merge (HL7 A40) or a change of identifier (A47), and what their films said before.

`schema.study` names these tables too: import from there.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.db.schema.base import Base, one_of
from worker.db.schema.states import MergeKind
from worker.db.schema.types import EnumText, UtcDateTime


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
