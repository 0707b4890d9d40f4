"""${message}

Rules: it runs in one transaction, on SQLite and PostgreSQL alike; the release before this one keeps working on the new
schema (add, fill, use, and drop in a later release); of dicom_io, model and worker it imports create_view, drop_view and
NOW_UTC alone, and copies what else it needs; a view that reads a changed table is dropped first and created again
afterwards; a changed view is a new file in views/; no lock is held for longer than a second on a big table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
