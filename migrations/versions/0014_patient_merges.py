"""Patient merges: `patient_merge`, `study_header`; results that were taken over; views `corrections`, `result_history`.

Existing rows stay as they are. Two indexes are built (patient of images and studies). `downgrade` forgets the merges:
what they joined stays joined, and a result that was taken over looks like any other.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
FILM_HEADER = "of what gate, film and score depend on before Pixel Data, and more; empty: not known"
REQUESTED = "Requested Procedure Priority (0040,1003), or what stands for it"
TAKEN_FROM = "the result of an earlier version with the same film that it repeats"
IN_FORCE = sa.text("ended_at IS NULL")
IS_TAKEN = sa.text("taken_from_id IS NOT NULL")
HAS_PATIENT = sa.text("patient_key <> ''")


def upgrade() -> None:
    op.add_column(
        "image",
        sa.Column("film_header_sha256", sa.String(64), nullable=False, server_default="", comment=FILM_HEADER),
    )
    _add_taken_from()
    op.create_index(
        "ix_image_patient_key", "image", ["patient_key"], postgresql_where=HAS_PATIENT, sqlite_where=HAS_PATIENT
    )
    op.create_index("ix_study_patient_id", "study", ["patient_id"])
    op.create_index(
        "ix_result_taken_from_id", "result", ["taken_from_id"], postgresql_where=IS_TAKEN, sqlite_where=IS_TAKEN
    )
    _patient_merge()
    _study_header()
    for name, version in (("corrections", 2), ("result_history", 5)):
        drop_view(op.get_bind(), name)
        create_view(op.get_bind(), VIEWS, name, version)


def downgrade() -> None:
    for name in ("corrections", "result_history"):
        drop_view(op.get_bind(), name)
    for table in ("study_header", "patient_merge"):
        op.drop_table(table)
    op.drop_index("ix_study_patient_id", "study")
    op.drop_index("ix_image_patient_key", "image")
    op.drop_index("ix_result_taken_from_id", "result")
    op.execute("ALTER TABLE result DROP COLUMN taken_from_id")
    op.execute("ALTER TABLE image DROP COLUMN film_header_sha256")
    for name, version in (("corrections", 1), ("result_history", 4)):
        create_view(op.get_bind(), VIEWS, name, version)


def _add_taken_from() -> None:
    # SQLite adds a column with its foreign key in one statement alone.
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute(
        f"ALTER TABLE result ADD COLUMN taken_from_id {'BIGINT' if is_postgresql else 'INTEGER'} "
        "CONSTRAINT fk_result_taken_from_id_result REFERENCES result (id)"
    )
    if is_postgresql:
        op.execute(f"COMMENT ON COLUMN result.taken_from_id IS '{TAKEN_FROM}'")


def _patient_merge() -> None:
    op.create_table(
        "patient_merge",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("kind", sa.String(16), nullable=False, comment="MERGE (A40) or RENAME (A47)"),
        sa.Column("old_patient_id", sa.String(128), nullable=False, comment="Patient ID that is not used any more"),
        sa.Column("old_issuer", sa.String(64), nullable=False, comment="its issuer; empty: whatever the issuer"),
        sa.Column("new_patient_id", sa.String(128), nullable=False, comment="Patient ID that survives"),
        sa.Column("new_issuer", sa.String(64), nullable=False, comment="its issuer; empty: that of the film"),
        sa.Column("old_key", sa.String(64), nullable=False, comment="SHA-256 of the old Patient ID, as in image"),
        sa.Column("new_key", sa.String(64), nullable=False, comment="SHA-256 of the new Patient ID, as in image"),
        sa.Column("at", MOMENT, nullable=False, comment="when it became known"),
        sa.Column("who", sa.String(128), nullable=False, comment="who or what said so"),
        sa.Column("why", sa.Text(), nullable=False, comment="why"),
        sa.Column("ended_at", MOMENT, nullable=True, comment="when it was taken back; NULL: in force"),
        sa.Column("ended_by", sa.String(128), nullable=True, comment="who took it back"),
        sa.Column("ended_why", sa.Text(), nullable=True, comment="why"),
        sa.CheckConstraint("kind IN ('MERGE', 'RENAME')", name=op.f("ck_patient_merge_kind")),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("ck_patient_merge_ended_has_who")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_merge")),
        comment="a patient merge or a change of Patient ID, in force until it is ended",
    )
    op.create_index(
        "uq_patient_merge_in_force",
        "patient_merge",
        ["old_key", "old_issuer"],
        unique=True,
        postgresql_where=IN_FORCE,
        sqlite_where=IN_FORCE,
    )
    op.create_index(
        "ix_patient_merge_new_key", "patient_merge", ["new_key"], postgresql_where=IN_FORCE, sqlite_where=IN_FORCE
    )


def _study_header() -> None:
    op.create_table(
        "study_header",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("study_id", ID, nullable=False, comment="the row that is this patient's without the merge"),
        sa.Column(
            "patient_key", sa.String(64), nullable=False, comment="SHA-256 of the Patient ID that its films name"
        ),
        sa.Column("patient_id", sa.String(128), nullable=False, comment="Patient ID (0010,0020)"),
        sa.Column("issuer_of_patient_id", sa.String(64), nullable=False, comment="Issuer of Patient ID (0010,0021)"),
        sa.Column("patient_name", sa.String(512), nullable=False, comment="Patient's Name (0010,0010)"),
        sa.Column("patient_birth_date", sa.Date(), nullable=True, comment="Patient's Birth Date (0010,0030)"),
        sa.Column("patient_sex", sa.String(16), nullable=False, comment="Patient's Sex (0010,0040)"),
        sa.Column("accession_number", sa.String(64), nullable=False, comment="Accession Number (0008,0050)"),
        sa.Column("study_date", sa.Date(), nullable=True, comment="Study Date (0008,0020)"),
        sa.Column("study_description", sa.String(255), nullable=False, comment="Study Description (0008,1030)"),
        sa.Column("requested_priority", sa.String(16), nullable=False, comment=REQUESTED),
        sa.Column("columns_at_ms", sa.BigInteger(), nullable=False, comment="arrival of the object (database clock)"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_header_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_header")),
        sa.UniqueConstraint(
            "study_id",
            "patient_key",
            "issuer_of_patient_id",
            name=op.f("uq_study_header_study_id_patient_key_issuer_of_patient_id"),
        ),
        comment="patient and study columns by the patient that films of a study name, while a merge joins them",
    )
