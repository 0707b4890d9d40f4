"""Studies and patients of an audited act on several (`audit_object`), and the certificate of a rejection note's sender.

Existing rows stay as they are: old events name a count alone, old notes no certificate. The release before does not know
either and leaves both empty. `downgrade` deletes the rows of `audit_object`: export the trail first. A later migration
that rebuilds `audit_object` on SQLite must make the triggers again.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
VIEWS = Path(__file__).resolve().parents[1] / "views"
CERTIFICATE = "SHA-256 of the TLS certificate that its sender showed, empty without TLS"

# Like `audit_event_guard` (0008): the owner's purge names the moment before which events, and what they name, may go.
POSTGRES_GUARD = (
    """
CREATE FUNCTION audit_object_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (
        SELECT 1 FROM audit_event
        WHERE id = OLD.event_id
            AND at < CAST(NULLIF(current_setting('auscult.audit_purge_before', true), '') AS timestamptz)
    )
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_object is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$
""",
    (
        "CREATE TRIGGER audit_object_guard BEFORE UPDATE OR DELETE ON audit_object "
        "FOR EACH ROW EXECUTE FUNCTION audit_object_guard()"
    ),
    (
        "CREATE TRIGGER audit_object_guard_truncate BEFORE TRUNCATE ON audit_object "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_object_guard()"
    ),
)
SQLITE_GUARD = tuple(
    f"CREATE TRIGGER audit_object_no_{what.lower()} BEFORE {what} ON audit_object "
    f"BEGIN SELECT RAISE(ABORT, 'audit_object is append-only'); END"
    for what in ("UPDATE", "DELETE")
)


def upgrade() -> None:
    op.add_column(
        "rejection_note",
        sa.Column("certificate", sa.String(64), nullable=False, server_default="", comment=CERTIFICATE),
    )
    drop_view(op.get_bind(), "withdrawals")
    create_view(op.get_bind(), VIEWS, "withdrawals", 2)
    _audit_object()
    for statement in POSTGRES_GUARD if op.get_bind().dialect.name == "postgresql" else SQLITE_GUARD:
        op.get_bind().exec_driver_sql(statement)
    create_view(op.get_bind(), VIEWS, "audit_objects", 1)


def downgrade() -> None:
    drop_view(op.get_bind(), "audit_objects")
    op.drop_table("audit_object")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_object_guard()")
    drop_view(op.get_bind(), "withdrawals")
    op.execute("ALTER TABLE rejection_note DROP COLUMN certificate")
    create_view(op.get_bind(), VIEWS, "withdrawals", 1)


def _audit_object() -> None:
    op.create_table(
        "audit_object",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("event_id", ID, nullable=False, comment="the event"),
        sa.Column("study_uid", sa.String(64), nullable=False, comment="the study; empty: a patient without a study"),
        sa.Column("side", sa.Integer(), nullable=False, comment="which patient of this Study Instance UID"),
        sa.Column(
            "patient_key", sa.String(64), nullable=False, comment="SHA-256 of the patient's identity, as in image"
        ),
        sa.ForeignKeyConstraint(["event_id"], ["audit_event.id"], name=op.f("fk_audit_object_event_id_audit_event")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_object")),
        sa.UniqueConstraint("event_id", "study_uid", "side", "patient_key", name="uq_audit_object_once"),
        comment="a study and patient of an audited act on several; rows are only added",
    )
    op.create_index("ix_audit_object_study_uid", "audit_object", ["study_uid"])
    op.create_index("ix_audit_object_patient_key", "audit_object", ["patient_key"])
