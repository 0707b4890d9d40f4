"""The view `corrections`: every value of a study that its source has replaced, old and new. No table changes."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"


def upgrade() -> None:
    create_view(op.get_bind(), VIEWS, "corrections", 1)


def downgrade() -> None:
    drop_view(op.get_bind(), "corrections")
