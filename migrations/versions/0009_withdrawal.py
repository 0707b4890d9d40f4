"""Rejection notes (IHE RAD IOCM): `rejection_note`, `rejected_object`, `withdrawal`; views `withdrawals` and `conflicts`.

Existing rows stay as they are. `downgrade` deletes what is known of rejection notes. A study whose answer is withheld
because its films were withdrawn becomes FAILED, because the release before does not know the reason; its other answers
are those of the last computation until a film or result of the study comes.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
EFFECTS = "'WITHDRAWS', 'KEEPS_PNEUMONIA', 'EXPIRES', 'RESTORES', 'NONE'"
VERDICTS = (
    "'APPLIED', 'RESTORED', 'TOO_LATE', 'PATIENT_DIFFERS', 'STUDY_DIFFERS', 'SERIES_DIFFERS', 'CLASS_DIFFERS', "
    "'SOURCE_NOT_LISTED', 'NO_REFERENCES', 'UNREADABLE', 'REFERENCES_DIFFER'"
)
FLAGS = ("WITHDRAWN", "REJECTED_FOR_QUALITY")
WITHOUT_FLAG = (
    """UPDATE study SET flags = replace(replace(replace(flags, '"FLAG",', ''), ',"FLAG"', ''), '"FLAG"', '') """
    """WHERE flags LIKE '%"FLAG"%'"""
)


def upgrade() -> None:
    _rejection_note()
    _rejected_object()
    _withdrawal()
    drop_view(op.get_bind(), "conflicts")
    create_view(op.get_bind(), VIEWS, "conflicts", 2)
    create_view(op.get_bind(), VIEWS, "withdrawals", 1)


def downgrade() -> None:
    drop_view(op.get_bind(), "withdrawals")
    drop_view(op.get_bind(), "conflicts")
    for table in ("withdrawal", "rejected_object", "rejection_note"):
        op.drop_table(table)
    op.execute(
        "UPDATE study SET state = 'FAILED', reason = 'INTERNAL_ERROR' WHERE state = 'WITHHELD' AND reason = 'WITHDRAWN'"
    )
    for flag in FLAGS:
        op.execute(WITHOUT_FLAG.replace("FLAG", flag))
    create_view(op.get_bind(), VIEWS, "conflicts", 1)


def _rejection_note() -> None:
    op.create_table(
        "rejection_note",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("image_id", ID, nullable=False, comment="the document itself"),
        sa.Column("title", sa.String(16), nullable=False, comment="code of its title: 113001, 113037, 113038, 113039"),
        sa.Column(
            "effect", sa.String(16), nullable=False, comment="what it does to the films it names, by title and settings"
        ),
        sa.Column(
            "verdict", sa.String(24), nullable=False, comment="APPLIED, or why the note as a whole has no effect"
        ),
        sa.Column("study_uid", sa.String(64), nullable=False, comment="its Study Instance UID (0020,000D)"),
        sa.Column(
            "patient_key", sa.String(64), nullable=False, comment="SHA-256 of its Patient ID, empty where it has none"
        ),
        sa.Column("issuer_of_patient_id", sa.String(64), nullable=False, comment="Issuer of Patient ID (0010,0021)"),
        sa.Column("source", sa.String(64), nullable=False, comment="AE title of its sender"),
        sa.Column("peer", sa.String(64), nullable=False, comment="address of its sender"),
        sa.Column("received_at", MOMENT, nullable=False, comment="when it came"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="when it came (database clock)"),
        sa.Column(
            "until_ms",
            sa.BigInteger(),
            nullable=False,
            comment="films that come first after that do not fall under it (database clock)",
        ),
        sa.Column("accepted_by", sa.String(128), nullable=True, comment="who vouches for a note that was refused"),
        sa.Column("accepted_why", sa.Text(), nullable=True, comment="why"),
        sa.Column("revoked_at", MOMENT, nullable=True, comment="when it was revoked by command"),
        sa.Column("revoked_by", sa.String(128), nullable=True, comment="who revoked it"),
        sa.Column("revoked_why", sa.Text(), nullable=True, comment="why"),
        sa.CheckConstraint(f"effect IN ({EFFECTS})", name=op.f("ck_rejection_note_effect")),
        sa.CheckConstraint(f"verdict IN ({VERDICTS})", name=op.f("ck_rejection_note_verdict")),
        sa.CheckConstraint(
            "(revoked_at IS NULL) = (revoked_by IS NULL)", name=op.f("ck_rejection_note_revoked_has_who")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_rejection_note_image_id_image")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejection_note")),
        sa.UniqueConstraint("image_id", name=op.f("uq_rejection_note_image_id")),
        comment="a Key Object Selection Document with a rejection title (IHE RAD IOCM)",
    )
    op.create_index("ix_rejection_note_study_uid", "rejection_note", ["study_uid"])


def _rejected_object() -> None:
    op.create_table(
        "rejected_object",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("note_id", ID, nullable=False, comment="the note"),
        sa.Column("study_uid", sa.String(64), nullable=False, comment="Study Instance UID (0020,000D)"),
        sa.Column(
            "series_uid", sa.String(64), nullable=False, comment="Series Instance UID (0020,000E), empty: not said"
        ),
        sa.Column(
            "sop_class_uid",
            sa.String(64),
            nullable=False,
            comment="Referenced SOP Class UID (0008,1150), empty: not said",
        ),
        sa.Column("sop_uid", sa.String(64), nullable=False, comment="Referenced SOP Instance UID (0008,1155)"),
        sa.ForeignKeyConstraint(
            ["note_id"], ["rejection_note.id"], name=op.f("fk_rejected_object_note_id_rejection_note")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_object")),
        sa.UniqueConstraint(
            "note_id",
            "sop_uid",
            "study_uid",
            "series_uid",
            "sop_class_uid",
            name=op.f("uq_rejected_object_as_named"),
        ),
        comment="an object that a rejection note names",
    )
    op.create_index("ix_rejected_object_sop_uid", "rejected_object", ["sop_uid"])


def _withdrawal() -> None:
    op.create_table(
        "withdrawal",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("rejected_object_id", ID, nullable=False, comment="the object as the note names it"),
        sa.Column("image_id", ID, nullable=False, comment="the image"),
        sa.Column(
            "verdict",
            sa.String(24),
            nullable=False,
            comment="APPLIED, or why the note has no effect on this image",
        ),
        sa.Column("at", MOMENT, nullable=False, comment="when note and image met, or the verdict changed"),
        sa.CheckConstraint(f"verdict IN ({VERDICTS})", name=op.f("ck_withdrawal_verdict")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_withdrawal_image_id_image")),
        sa.ForeignKeyConstraint(
            ["rejected_object_id"],
            ["rejected_object.id"],
            name=op.f("fk_withdrawal_rejected_object_id_rejected_object"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawal")),
        sa.UniqueConstraint("rejected_object_id", "image_id", name=op.f("uq_withdrawal_rejected_object_id_image_id")),
        comment="what came of a rejection note for one image",
    )
    op.create_index("ix_withdrawal_image_id", "withdrawal", ["image_id"])
