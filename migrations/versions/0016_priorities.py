"""The priority that an order asks for, and an index for the oldest live tasks.

Existing studies keep their priority and say nothing of an order; the release before leaves the column empty, so what it
registers is routine.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None

REQUESTED = "Requested Procedure Priority (0040,1003), or what stands for it"
IS_OPEN_LIVE = sa.text("state IN ('PENDING', 'CLAIMED') AND batch_id IS NULL")


def upgrade() -> None:
    op.add_column(
        "study",
        sa.Column("requested_priority", sa.String(16), nullable=False, server_default="", comment=REQUESTED),
    )
    op.create_index("ix_task_open_live_age", "task", ["id"], postgresql_where=IS_OPEN_LIVE, sqlite_where=IS_OPEN_LIVE)


def downgrade() -> None:
    op.drop_index("ix_task_open_live_age", "task")
    op.execute("ALTER TABLE study DROP COLUMN requested_priority")
