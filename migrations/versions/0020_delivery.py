"""Results handed on to other systems: `destination`, `delivery` and the view `deliveries`.

Nothing is delivered before a destination is added. `downgrade` deletes what is known of deliveries: the objects that a PACS
was given stay there, and an upgrade does not know of them.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
OPEN = "state IN ('PENDING', 'CLAIMED', 'UNCONFIRMED')"


def upgrade() -> None:
    _destination()
    _delivery()
    create_view(op.get_bind(), VIEWS, "deliveries", 1)


def downgrade() -> None:
    drop_view(op.get_bind(), "deliveries")
    op.drop_table("delivery")
    op.drop_table("destination")


def _index(name: str, table: str, columns: list[str], rows: str, *, unique: bool = False) -> None:
    where = sa.text(rows)
    op.create_index(name, table, columns, unique=unique, postgresql_where=where, sqlite_where=where)


def _destination() -> None:
    op.create_table(
        "destination",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("name", sa.String(32), nullable=False, comment="what the site calls it"),
        sa.Column("kind", sa.String(16), nullable=False, comment="C_STORE or WEBHOOK"),
        sa.Column(
            "address",
            sa.String(512),
            nullable=False,
            comment="a peer of the settings, AET@HOST:PORT, or a URL without secrets",
        ),
        sa.Column(
            "findings",
            sa.Text(),
            nullable=False,
            comment="JSON: findings that it gets, PRESENT, INDETERMINATE, ABSENT; empty: all",
        ),
        sa.Column("bands", sa.Text(), nullable=False, comment="JSON: bands that it gets; empty: all"),
        sa.Column("callers", sa.Text(), nullable=False, comment="JSON: AE titles whose studies it gets; empty: all"),
        sa.Column("heat_map", sa.Boolean(), nullable=False, comment="whether it gets a heat map beside the report"),
        sa.Column(
            "commitment",
            sa.Boolean(),
            nullable=False,
            comment="whether it is asked for storage commitment where it offers that",
        ),
        sa.Column(
            "names_patient",
            sa.Boolean(),
            nullable=False,
            comment="whether it is told who the patient is; DICOM objects always do",
        ),
        sa.Column("who", sa.String(128), nullable=False, comment="who ordered it"),
        sa.Column("why", sa.Text(), nullable=False, comment="why"),
        sa.Column("created_at", MOMENT, nullable=False, comment="when it was ordered"),
        sa.Column("ended_at", MOMENT, comment="when it was removed; NULL: it is in use"),
        sa.Column(
            "seen_change",
            sa.BigInteger(),
            nullable=False,
            comment="changes of studies up to this number have become deliveries, or were none",
        ),
        sa.Column(
            "failures",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="times in a row it could not be reached",
        ),
        sa.Column(
            "not_before_ms",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="it is not called before (database clock)",
        ),
        sa.CheckConstraint("kind IN ('C_STORE', 'WEBHOOK')", name=op.f("ck_destination_kind")),
        sa.CheckConstraint("kind <> 'C_STORE' OR names_patient", name=op.f("ck_destination_objects_name_the_patient")),
        sa.CheckConstraint(
            "kind = 'C_STORE' OR NOT (heat_map OR commitment)", name=op.f("ck_destination_objects_go_by_c_store")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destination")),
        comment="where results are delivered, and which of them; nothing is delivered without a row",
    )
    _index("uq_destination_in_use", "destination", ["name"], "ended_at IS NULL", unique=True)


def _delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("destination_id", ID, nullable=False, comment="the destination"),
        sa.Column("study_id", ID, nullable=False, comment="the study"),
        sa.Column(
            "number",
            sa.Integer(),
            nullable=False,
            comment="counts what the destination is told about the study, from 1",
        ),
        sa.Column("action", sa.String(16), nullable=False, comment="REPORT or WITHDRAW"),
        sa.Column(
            "says",
            sa.String(64),
            nullable=False,
            comment="SHA-256 of what of the study's row it says; empty: that nothing holds",
        ),
        sa.Column("state", sa.String(16), nullable=False, comment="how far it is"),
        sa.Column("reason", sa.String(40), comment="code: why the last attempt failed, or what was not confirmed"),
        sa.Column(
            "attempts",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="times a sender has claimed it",
        ),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False, comment="not sent before (database clock)"),
        sa.Column("give_up_ms", sa.BigInteger(), nullable=False, comment="not tried again after that (database clock)"),
        sa.Column("lease_owner", sa.String(160), comment="the sender that has it"),
        sa.Column(
            "lease_token",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="counts claims: fences old senders off",
        ),
        sa.Column("lease_until_ms", sa.BigInteger(), comment="end of the lease (database clock)"),
        sa.Column(
            "objects",
            sa.Text(),
            nullable=False,
            server_default="[]",
            comment="JSON: objects that the destination may have by it, known before they are sent",
        ),
        sa.Column("report_uid", sa.String(64), comment="SOP Instance UID of its report, once one is made"),
        sa.Column("model_id", ID, comment="the model that answered, of a REPORT"),
        sa.Column(
            "film_key",
            sa.String(64),
            comment="name in the store of the film that decided, whose header the objects repeat",
        ),
        sa.Column(
            "transaction_uid",
            sa.String(64),
            comment="Transaction UID (0008,1195) of the last request for storage commitment",
        ),
        sa.Column("created_at", MOMENT, nullable=False, comment="when the answer became known"),
        sa.Column("begun_at", MOMENT, comment="when content first left for the destination; NULL: it has none of it"),
        sa.Column("delivered_at", MOMENT, comment="when the destination had taken everything"),
        sa.Column("finished_at", MOMENT, comment="when it ended; NULL: it is open"),
        sa.CheckConstraint("action IN ('REPORT', 'WITHDRAW')", name=op.f("ck_delivery_action")),
        sa.CheckConstraint(
            "state IN ('PENDING', 'CLAIMED', 'UNCONFIRMED', 'DELIVERED', 'CONFIRMED', 'FAILED', 'SUPERSEDED')",
            name=op.f("ck_delivery_state"),
        ),
        sa.CheckConstraint(
            "(state = 'CLAIMED') = (lease_owner IS NOT NULL AND lease_until_ms IS NOT NULL)",
            name=op.f("ck_delivery_claimed_has_lease"),
        ),
        sa.CheckConstraint(f"({OPEN}) = (finished_at IS NULL)", name=op.f("ck_delivery_ended_has_time")),
        sa.CheckConstraint(
            "state NOT IN ('UNCONFIRMED', 'DELIVERED', 'CONFIRMED') OR delivered_at IS NOT NULL",
            name=op.f("ck_delivery_delivered_has_time"),
        ),
        sa.ForeignKeyConstraint(
            ["destination_id"], ["destination.id"], name=op.f("fk_delivery_destination_id_destination")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_delivery_study_id_study")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_delivery_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "destination_id",
            "study_id",
            "number",
            name=op.f("uq_delivery_destination_id_study_id_number"),
        ),
        comment="one thing that one destination is told about one study",
    )
    _index("ix_delivery_open", "delivery", ["destination_id", "not_before_ms"], OPEN)
    _index("ix_delivery_failed", "delivery", ["destination_id"], "state = 'FAILED'")
    _index("uq_delivery_transaction", "delivery", ["transaction_uid"], "transaction_uid IS NOT NULL", unique=True)
    op.create_index("ix_delivery_study_id", "delivery", ["study_id"])
