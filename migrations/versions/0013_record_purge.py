"""Indexes for the rows that name a row which a purge of records deletes.

Without them PostgreSQL reads the whole table for each row that goes. Nothing else changes; the release before goes on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

#: Columns that name a row and are empty in most rows, or change nothing but by a merge.
NAMING = (
    ("result", "supersedes_id"),
    ("result", "compared_id"),
    ("correction", "image_id"),
    ("study", "merged_into_id"),
)


def upgrade() -> None:
    for table, column in NAMING:
        is_named = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=is_named, sqlite_where=is_named)


def downgrade() -> None:
    for table, column in NAMING:
        op.drop_index(f"ix_{table}_{column}", table)
