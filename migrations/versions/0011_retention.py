"""Retention: purges, files to remove, storage commitments given, and when an image's original and film were purged.

Existing rows stay as they are: nothing is purged. `downgrade` forgets what was purged and committed; the release before
calls a purged original missing. A purge must not run meanwhile.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
ORIGINAL_PURGED = "when a purge took its original; NULL: it is kept"
FILM_PURGED = "when a purge took its film; NULL: it is kept, or there is none"


def upgrade() -> None:
    op.add_column("image", sa.Column("original_purged_at", MOMENT, nullable=True, comment=ORIGINAL_PURGED))
    op.add_column("image", sa.Column("film_purged_at", MOMENT, nullable=True, comment=FILM_PURGED))
    op.create_index("ix_study_last_rx_at", "study", ["last_rx_at"])
    _purge()
    _removal()
    _commitment()
    for name in ("retention", "purges"):
        create_view(op.get_bind(), VIEWS, name, 1)


def downgrade() -> None:
    for name in ("purges", "retention"):
        drop_view(op.get_bind(), name)
    for table in ("commitment", "removal", "purge"):
        op.drop_table(table)
    op.drop_index("ix_study_last_rx_at", "study")
    op.execute("ALTER TABLE image DROP COLUMN film_purged_at")
    op.execute("ALTER TABLE image DROP COLUMN original_purged_at")


def _purge() -> None:
    op.create_table(
        "purge",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("kind", sa.String(16), nullable=False, comment="PIXELS, RECORDS or PERSON"),
        sa.Column("who", sa.String(128), nullable=False, comment="who ordered it, or the listener's schedule"),
        sa.Column("why", sa.Text(), nullable=False, comment="why"),
        sa.Column("rules", sa.Text(), nullable=False, comment="JSON: the rules by which it chose"),
        sa.Column("started_at", MOMENT, nullable=False, comment="when it began"),
        sa.Column("finished_at", MOMENT, nullable=True, comment="when it ended; NULL while it runs"),
        sa.Column("ended_how", sa.String(16), nullable=True, comment="DONE or STOPPED"),
        sa.Column("running", sa.Integer(), nullable=True, comment="1 while it runs, then NULL: one purge at a time"),
        sa.Column(
            "lease_until_ms",
            sa.BigInteger(),
            nullable=False,
            comment="it counts as dead from then on (database clock), unless it renews this",
        ),
        *(
            sa.Column(name, kind, server_default="0", nullable=False, comment=comment)
            for name, kind, comment in (
                ("n_studies", sa.Integer(), "studies it took something from"),
                ("n_originals", sa.Integer(), "originals it removed"),
                ("n_films", sa.Integer(), "films it removed"),
                ("n_records", sa.Integer(), "studies whose rows it deleted"),
                ("freed_bytes", sa.BigInteger(), "bytes of the files it removed"),
            )
        ),
        sa.CheckConstraint("kind IN ('PIXELS', 'RECORDS', 'PERSON')", name=op.f("ck_purge_kind")),
        sa.CheckConstraint("ended_how IN ('DONE', 'STOPPED')", name=op.f("ck_purge_ended_how")),
        sa.CheckConstraint("running = 1", name=op.f("ck_purge_running")),
        sa.CheckConstraint("(running IS NULL) = (finished_at IS NOT NULL)", name=op.f("ck_purge_finished_or_running")),
        sa.CheckConstraint("(finished_at IS NULL) = (ended_how IS NULL)", name=op.f("ck_purge_finished_has_how")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purge")),
        sa.UniqueConstraint("running", name=op.f("uq_purge_running")),
        comment="one purge, or the erasure of one person: who ordered it, by which rules, what it removed",
    )


def _removal() -> None:
    op.create_table(
        "removal",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("purge_id", ID, nullable=False, comment="the purge"),
        sa.Column("kind", sa.String(16), nullable=False, comment="ORIGINAL or FILM"),
        sa.Column("key", sa.String(64), nullable=False, comment="its name in the store, or among the films"),
        sa.CheckConstraint("kind IN ('ORIGINAL', 'FILM')", name=op.f("ck_removal_kind")),
        sa.ForeignKeyConstraint(["purge_id"], ["purge.id"], name=op.f("fk_removal_purge_id_purge")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removal")),
        sa.UniqueConstraint("key", "kind", name=op.f("uq_removal_key_kind")),
        comment="a file that a purge is to remove; the row is deleted once the file is gone",
    )


def _commitment() -> None:
    op.create_table(
        "commitment",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("image_id", ID, nullable=False, comment="the version of the object"),
        sa.Column("requester", sa.String(64), nullable=False, comment="AE title that asked for it"),
        sa.Column(
            "transaction_uid", sa.String(64), nullable=False, comment="Transaction UID (0008,1195) of its request"
        ),
        sa.Column("at", MOMENT, nullable=False, comment="when it was given"),
        sa.Column("until", MOMENT, nullable=False, comment="until when the original is kept"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_commitment_image_id_image")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment")),
        sa.UniqueConstraint("image_id", "transaction_uid", name=op.f("uq_commitment_image_id_transaction_uid")),
        comment="storage commitment given for an object: its original stays until then",
    )
    op.create_index("ix_commitment_until", "commitment", ["until"])
