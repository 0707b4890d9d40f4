"""How often the same refusal was repeated, and which decoder read a film.

Existing refusals were recorded once each; the decoder of existing results is unknown.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
#: Each view that shows a new column: the version before and after.
CHANGED = {"result_history": (2, 3), "refused": (1, 2)}
#: Table, column, type, comment.
COLUMNS = (
    ("refusal", "times", "INTEGER DEFAULT 1 NOT NULL", "how often the same was turned away since its last row"),
    ("result", "decoder", "VARCHAR(32)", "what read the film's pixel data"),
)


def upgrade() -> None:
    for table, column, kind, meaning in COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        if op.get_bind().dialect.name == "postgresql":
            quoted = meaning.replace("'", "''")
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{quoted}'")
    _replace_views(1)


def downgrade() -> None:
    """Drop counts and decoders."""
    _replace_views(0)
    for table, column, _, _ in reversed(COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")


def _replace_views(which: int) -> None:
    for name, versions in CHANGED.items():
        drop_view(op.get_bind(), name)
        create_view(op.get_bind(), VIEWS, name, versions[which])
