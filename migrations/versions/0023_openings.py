"""A re-run that takes its films in parts: how far it is, and that it does not end before; what a closed one came to.

Also `refused` from two indexes at once on SQLite. Existing batches have all their tasks; of closed ones tasks are counted. The release before opens a batch in one transaction, and does not know one that is being opened:
it may take its tasks, and cannot close it. Nothing of a big table is written.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
COLUMNS = {
    "opening_after_id": (
        "BIGINT CONSTRAINT ck_batch_opened_before_closed CHECK (closed_at IS NULL OR opening_after_id IS NULL)",
        "it has the films of studies up to this number; NULL: of all, it is opened",
    ),
    "opening_last_id": ("BIGINT", "the last study whose films it may take; NULL: it took them all at once"),
    "opening_at_ms": ("BIGINT", "when its command last went on opening it (database clock); NULL: as before"),
    **{
        f"n_{end}": ("INTEGER", f"tasks {end} when it was closed; NULL: counted")
        for end in ("done", "failed", "cancelled")
    },
}
#: Views with their versions before and after.
CHANGED = {"batch_progress": (3, 4), "refused": (3, 4)}


def upgrade() -> None:
    connection = op.get_bind()
    for name in CHANGED:
        drop_view(connection, name)
    for name, (kind, comment) in COLUMNS.items():
        op.execute(f"ALTER TABLE batch ADD COLUMN {name} {kind}")
        if connection.dialect.name == "postgresql":
            op.execute(f"COMMENT ON COLUMN batch.{name} IS '{comment}'")
    for name, (_, after) in CHANGED.items():
        create_view(connection, VIEWS, name, after)


def downgrade() -> None:
    connection = op.get_bind()
    for name in CHANGED:
        drop_view(connection, name)
    for name in COLUMNS:
        op.execute(f"ALTER TABLE batch DROP COLUMN {name}")
    for name, (before, _) in CHANGED.items():
        create_view(connection, VIEWS, name, before)
