"""The audit trail (DICOM PS3.15 A.5) and how far it was exported.

`schema.study` names these tables too: import from there, but for what writes the trail.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from worker.db.schema.types import Base, UtcDateTime


class AuditEvent(Base):
    """Something that was done: what, by whom, from where and to what; rows are only added, which a trigger holds."""

    __tablename__ = "audit_event"
    __table_args__ = (
        CheckConstraint("action IN ('C', 'R', 'U', 'D', 'E')", name="action"),
        CheckConstraint("outcome IN (0, 4, 8, 12)", name="outcome"),
        Index("ix_audit_event_at", "at"),
        Index(
            "ix_audit_event_study_uid",
            "study_uid",
            postgresql_where=text("study_uid <> ''"),
            sqlite_where=text("study_uid <> ''"),
        ),
        Index(
            "ix_audit_event_patient_key",
            "patient_key",
            postgresql_where=text("patient_key <> ''"),
            sqlite_where=text("patient_key <> ''"),
        ),
        Index(
            "ix_audit_event_settings",
            "who",
            "origin",
            postgresql_where=text("act = 'SETTINGS_CHANGED'"),
            sqlite_where=text("act = 'SETTINGS_CHANGED'"),
        ),
        # Without it SQLite gives the number of a deleted last row again.
        {"comment": "the audit trail (DICOM PS3.15 A.5); rows are only added", "sqlite_autoincrement": True},
    )

    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when, by the database's clock")
    act: Mapped[str] = mapped_column(String(40), comment="what was done, by Auscult's name for it")
    event_code: Mapped[str] = mapped_column(String(16), comment="EventID, a code of the scheme DCM")
    event_type_code: Mapped[str] = mapped_column(
        String(16), comment="EventTypeCode, a code of the scheme DCM; empty where none fits"
    )
    action: Mapped[str] = mapped_column(String(1), comment="EventActionCode: C, R, U, D or E")
    outcome: Mapped[int] = mapped_column(
        SmallInteger, comment="EventOutcomeIndicator: 0 success, 4 minor, 8 serious, 12 major failure"
    )
    who: Mapped[str] = mapped_column(String(128), comment="user at the command line, AE title, or process")
    origin: Mapped[str] = mapped_column(String(128), comment="from where: address or host")
    study_uid: Mapped[str] = mapped_column(String(64), comment="the study; empty: none is concerned")
    side: Mapped[int] = mapped_column(Integer, comment="which patient of this Study Instance UID")
    patient_key: Mapped[str] = mapped_column(String(64), comment="SHA-256 of the patient's identity, as in image")
    sop_uid: Mapped[str] = mapped_column(String(64), comment="the object; empty: no single one is concerned")
    detail: Mapped[str] = mapped_column(Text, comment="JSON: what else tells; no patient data")


class AuditObject(Base):
    """A study and patient that an act on several was about; rows are only added, which a trigger holds."""

    __tablename__ = "audit_object"
    __table_args__ = (
        UniqueConstraint("event_id", "study_uid", "side", "patient_key", name="uq_audit_object_once"),
        Index("ix_audit_object_study_uid", "study_uid"),
        Index("ix_audit_object_patient_key", "patient_key"),
        {"comment": "a study and patient of an audited act on several; rows are only added"},
    )

    event_id: Mapped[int] = mapped_column(ForeignKey("audit_event.id"), comment="the event")
    study_uid: Mapped[str] = mapped_column(String(64), comment="the study; empty: a patient without a study")
    side: Mapped[int] = mapped_column(Integer, comment="which patient of this Study Instance UID")
    patient_key: Mapped[str] = mapped_column(String(64), comment="SHA-256 of the patient's identity, as in image")


class AuditExport(Base):
    """Up to which event the audit trail was sent to a destination."""

    __tablename__ = "audit_export"
    __table_args__ = ({"comment": "up to which event the audit trail was sent to a destination"},)

    destination: Mapped[str] = mapped_column(String(255), unique=True, comment="tls://HOST:PORT, or the file's path")
    last_event_id: Mapped[int] = mapped_column(BigInteger, comment="every event up to this one was sent")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was last sent to")
