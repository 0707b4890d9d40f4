"""The audit trail: tables `audit_event` and `audit_export`, view `audit`, triggers that refuse to change events.

Nothing that exists is touched. `downgrade` deletes the audit trail: export it first. A later migration that rebuilds
`audit_event` on SQLite must make the triggers again.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
REFUSAL = "audit_event is append-only"

# The owner's purge names the moment before which events may go; for any other role the privileges forbid it anyway.
POSTGRES_GUARD = (
    f"""
CREATE FUNCTION audit_event_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND OLD.at < CAST(NULLIF(current_setting('auscult.audit_purge_before', true), '') AS timestamptz)
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'insufficient_privilege';
END
$$
""",
    (
        "CREATE TRIGGER audit_event_guard BEFORE UPDATE OR DELETE ON audit_event "
        "FOR EACH ROW EXECUTE FUNCTION audit_event_guard()"
    ),
    (
        "CREATE TRIGGER audit_event_guard_truncate BEFORE TRUNCATE ON audit_event "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_event_guard()"
    ),
)
SQLITE_GUARD = tuple(
    f"CREATE TRIGGER audit_event_no_{what.lower()} BEFORE {what} ON audit_event "
    f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    for what in ("UPDATE", "DELETE")
)


def upgrade() -> None:
    _audit_event()
    op.create_table(
        "audit_export",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("destination", sa.String(255), nullable=False, comment="tls://HOST:PORT, or the file's path"),
        sa.Column("last_event_id", sa.BigInteger(), nullable=False, comment="every event up to this one was sent"),
        sa.Column("at", MOMENT, nullable=False, comment="when it was last sent to"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_export")),
        sa.UniqueConstraint("destination", name=op.f("uq_audit_export_destination")),
        comment="up to which event the audit trail was sent to a destination",
    )
    for statement in POSTGRES_GUARD if op.get_bind().dialect.name == "postgresql" else SQLITE_GUARD:
        op.get_bind().exec_driver_sql(statement)
    create_view(op.get_bind(), VIEWS, "audit", 1)


def downgrade() -> None:
    drop_view(op.get_bind(), "audit")
    op.drop_table("audit_export")
    op.drop_table("audit_event")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_event_guard()")


def _audit_event() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("at", MOMENT, nullable=False, comment="when, by the database's clock"),
        sa.Column("act", sa.String(40), nullable=False, comment="what was done, by Auscult's name for it"),
        sa.Column("event_code", sa.String(16), nullable=False, comment="EventID, a code of the scheme DCM"),
        sa.Column(
            "event_type_code",
            sa.String(16),
            nullable=False,
            comment="EventTypeCode, a code of the scheme DCM; empty where none fits",
        ),
        sa.Column("action", sa.String(1), nullable=False, comment="EventActionCode: C, R, U, D or E"),
        sa.Column(
            "outcome",
            sa.SmallInteger(),
            nullable=False,
            comment="EventOutcomeIndicator: 0 success, 4 minor, 8 serious, 12 major failure",
        ),
        sa.Column("who", sa.String(128), nullable=False, comment="user at the command line, AE title, or process"),
        sa.Column("origin", sa.String(128), nullable=False, comment="from where: address or host"),
        sa.Column("study_uid", sa.String(64), nullable=False, comment="the study; empty: none is concerned"),
        sa.Column("side", sa.Integer(), nullable=False, comment="which patient of this Study Instance UID"),
        sa.Column(
            "patient_key", sa.String(64), nullable=False, comment="SHA-256 of the patient's identity, as in image"
        ),
        sa.Column("sop_uid", sa.String(64), nullable=False, comment="the object; empty: no single one is concerned"),
        sa.Column("detail", sa.Text(), nullable=False, comment="JSON: what else tells; no patient data"),
        sa.CheckConstraint("action IN ('C', 'R', 'U', 'D', 'E')", name=op.f("ck_audit_event_action")),
        sa.CheckConstraint("outcome IN (0, 4, 8, 12)", name=op.f("ck_audit_event_outcome")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
        comment="the audit trail (DICOM PS3.15 A.5); rows are only added",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    _index("study_uid", ["study_uid"], "study_uid <> ''")
    _index("patient_key", ["patient_key"], "patient_key <> ''")
    _index("settings", ["who", "origin"], "act = 'SETTINGS_CHANGED'")


def _index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(f"ix_audit_event_{name}", "audit_event", columns, postgresql_where=where, sqlite_where=where)
