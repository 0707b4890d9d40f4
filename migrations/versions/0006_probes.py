"""Probes: the last findings of each process, for `auscult status` and the view `health`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"


def upgrade() -> None:
    op.create_table(
        "probe",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("source", sa.String(160), nullable=False, comment="the process, by what it is and where"),
        sa.Column("probe", sa.String(40), nullable=False, comment="what was looked at"),
        sa.Column("level", sa.String(8), nullable=False, comment="OK, WARN or FAIL"),
        sa.Column("value", sa.Double(), nullable=True, comment="what was measured, in the unit the sentence names"),
        sa.Column("sentence", sa.String(255), nullable=False, comment="what it means; empty when well"),
        sa.Column("at", MOMENT, nullable=False, comment="when"),
        sa.CheckConstraint("level IN ('OK', 'WARN', 'FAIL')", name=op.f("ck_probe_level")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probe")),
        sa.UniqueConstraint("source", "probe", name=op.f("uq_probe_source_probe")),
        comment="what a process last found of itself",
    )
    create_view(op.get_bind(), VIEWS, "health", 1)


def downgrade() -> None:
    drop_view(op.get_bind(), "health")
    op.drop_table("probe")
