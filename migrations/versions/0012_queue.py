"""Interrupted attempts of a task, and lanes and failures by their reason in `queue_health`.

Existing tasks have been interrupted 0 times; the release before does not know the column and leaves it so.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
INTERRUPTIONS = "attempts not counted, because everything around them ended too"


def upgrade() -> None:
    op.add_column(
        "task", sa.Column("interruptions", sa.Integer(), nullable=False, server_default="0", comment=INTERRUPTIONS)
    )
    drop_view(op.get_bind(), "queue_health")
    create_view(op.get_bind(), VIEWS, "queue_health", 2)


def downgrade() -> None:
    drop_view(op.get_bind(), "queue_health")
    op.execute("ALTER TABLE task DROP COLUMN interruptions")
    create_view(op.get_bind(), VIEWS, "queue_health", 1)
