"""Digests of pixels say by which algorithm they were made: the comment of `image.pixel_sha256`.

Existing rows stay as they are, with a SHA-256; objects that come from now on have ``blake3:`` and a BLAKE3 there. The column
keeps its name, as the release before reads it while a site rolls over. `downgrade` changes no row either: the release before
takes a BLAKE3 for other pixels, never for the same ones.
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

BEFORE = "of the data set from Pixel Data on; empty: not known, or no pixel data"
AFTER = "BLAKE3 (before schema 0024 SHA-256) from Pixel Data on; empty: not known, or no pixel data"


def upgrade() -> None:
    _comment(AFTER)


def downgrade() -> None:
    _comment(BEFORE)


def _comment(meaning: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"COMMENT ON COLUMN image.pixel_sha256 IS '{meaning}'")
