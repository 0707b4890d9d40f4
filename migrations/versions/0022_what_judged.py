"""What made a result: the process with its versions (`worker_process`), the moment of the claim, the file that LiteRT runs.

Existing rows stay as they are: of their results this is not known. The columns are empty in them, so no table is written
again; a model gets its digest when its bundle is opened next. `downgrade` forgets what was kept.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_MODEL = "of the file that LiteRT runs; NULL: not opened since schema 0022"
OF_RESULT = "what judged it; NULL: nothing did, or it is older"


def upgrade() -> None:
    op.create_table(
        "worker_process",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("name", sa.String(160), nullable=False, comment="host:pid:random"),
        sa.Column("host", sa.String(128), nullable=False, comment="its machine"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="its process"),
        sa.Column("auscult", sa.String(32), nullable=False, comment="its version of Auscult"),
        sa.Column("python", sa.String(32), nullable=False, comment="its version of Python"),
        sa.Column("libraries", sa.Text(), nullable=False, comment="JSON: its versions of what a score depends on"),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, comment="its first claim"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_process")),
        sa.UniqueConstraint("name", name=op.f("uq_worker_process_name")),
        comment="a process that claimed tasks, with its versions; it stays, as results name it",
    )
    op.add_column("model", sa.Column("litert_sha256", sa.String(64), comment=OF_MODEL))
    op.add_column("task", sa.Column("claimed_at_ms", sa.BigInteger(), comment="its last claim (database clock)"))
    # SQLite adds a column with its foreign key in one statement alone.
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute(
        f"ALTER TABLE result ADD COLUMN worker_process_id {'BIGINT' if is_postgresql else 'INTEGER'} "
        "CONSTRAINT fk_result_worker_process_id_worker_process REFERENCES worker_process (id)"
    )
    if is_postgresql:
        op.execute(f"COMMENT ON COLUMN result.worker_process_id IS '{OF_RESULT}'")


def downgrade() -> None:
    op.execute("ALTER TABLE result DROP COLUMN worker_process_id")
    op.execute("ALTER TABLE model DROP COLUMN litert_sha256")
    op.execute("ALTER TABLE task DROP COLUMN claimed_at_ms")
    op.drop_table("worker_process")
