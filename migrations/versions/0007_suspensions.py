"""Suspended models: the table `suspension`, its events with a detail, results in doubt in `result_history`.

Existing rows stay as they are. `downgrade` turns a study whose NORMAL is withheld for a suspended model to FAILED,
because the release before does not know the reason and must not show NORMAL; the events of suspensions are deleted.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
OLD_EVENTS = "'ACTIVATED', 'DEACTIVATED', 'SHADOWED', 'UNSHADOWED', 'RETIRED', 'REINSTATED'"
NEW_EVENTS = f"{OLD_EVENTS}, 'SUSPENDED', 'RELEASED', 'DISCARDED', 'REQUEUED'"
OLD_COMMENT = "a change of a model's state: who ordered it, why and when; rows are only added"
NEW_COMMENT = "what was done with a model: who ordered it, why and when; rows are only added"
DETAIL = "JSON: of a suspension and its end, since when and how many studies of each answer"


def upgrade() -> None:
    _change_events(OLD_EVENTS, NEW_EVENTS)
    op.add_column("model_event", sa.Column("detail", sa.Text(), nullable=True, comment=DETAIL))
    _comment(NEW_COMMENT)
    _suspension()
    drop_view(op.get_bind(), "result_history")
    create_view(op.get_bind(), VIEWS, "result_history", 4)


def downgrade() -> None:
    drop_view(op.get_bind(), "result_history")
    op.drop_table("suspension")
    op.execute("DELETE FROM model_event WHERE event IN ('SUSPENDED', 'RELEASED', 'DISCARDED', 'REQUEUED')")
    op.execute("ALTER TABLE model_event DROP COLUMN detail")
    _change_events(NEW_EVENTS, OLD_EVENTS)
    _comment(OLD_COMMENT)
    op.execute(
        "UPDATE study SET state = 'FAILED', reason = 'INTERNAL_ERROR' "
        "WHERE state = 'WITHHELD' AND reason = 'MODEL_SUSPENDED'"
    )
    op.execute(
        """UPDATE study SET flags = replace(replace(replace(flags, '"MODEL_SUSPENDED",', ''), ',"MODEL_SUSPENDED"', ''), """
        """'"MODEL_SUSPENDED"', '') WHERE flags LIKE '%MODEL_SUSPENDED%'"""
    )
    create_view(op.get_bind(), VIEWS, "result_history", 3)


def _change_events(before: str, after: str) -> None:
    """Change the CHECK; SQLite cannot, so it rebuilds the table, a handful of rows."""
    with op.batch_alter_table("model_event", copy_from=_model_event(before)) as batch:
        batch.drop_constraint(op.f("ck_model_event_event"), type_="check")
        batch.create_check_constraint(op.f("ck_model_event_event"), f"event IN ({after})")


def _model_event(events: str) -> sa.Table:
    """The table of 0002."""
    model_event = sa.Table(
        "model_event",
        sa.MetaData(),
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("who", sa.String(128), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint(f"event IN ({events})", name=op.f("ck_model_event_event")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_event_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_event")),
    )
    sa.Index("ix_model_event_model_id", model_event.c.model_id)
    return model_event


def _comment(text: str) -> None:
    """Write a comment; SQLite has none."""
    if op.get_bind().dialect.name == "postgresql":
        quoted = text.replace("'", "''")
        op.execute(f"COMMENT ON TABLE model_event IS '{quoted}'")


def _suspension() -> None:
    op.create_table(
        "suspension",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("model_id", ID, nullable=False, comment="the model"),
        sa.Column("at", MOMENT, nullable=False, comment="when it was suspended"),
        sa.Column("since", MOMENT, nullable=False, comment="last good check: results from then on are in doubt"),
        sa.Column("who", sa.String(128), nullable=False, comment="who suspended it"),
        sa.Column("why", sa.Text(), nullable=False, comment="why"),
        sa.Column("ended_at", MOMENT, nullable=True, comment="when it ended; NULL: the model is suspended"),
        sa.Column("ended_how", sa.String(16), nullable=True, comment="what became of the results in doubt"),
        sa.Column(
            "first_result_id",
            sa.BigInteger(),
            nullable=False,
            comment="results of the model from this one on are in doubt",
        ),
        sa.Column(
            "last_task_id",
            sa.BigInteger(),
            nullable=True,
            comment="results of later tasks are not in doubt; 0 once released, NULL while suspended",
        ),
        sa.Column(
            "next_result_id",
            sa.BigInteger(),
            nullable=True,
            comment="studies of results below this one are still to be answered again; NULL: all are",
        ),
        sa.CheckConstraint("ended_how IN ('RELEASED', 'DISCARDED', 'REQUEUED')", name=op.f("ck_suspension_ended_how")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_how IS NULL) AND (ended_at IS NULL) = (last_task_id IS NULL)",
            name=op.f("ck_suspension_ended_has_how"),
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_suspension_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspension")),
        comment="a time in which a model's results are in doubt",
    )
    condition = sa.text("ended_at IS NULL")
    op.create_index(
        "uq_suspension_open",
        "suspension",
        ["model_id"],
        unique=True,
        postgresql_where=condition,
        sqlite_where=condition,
    )
