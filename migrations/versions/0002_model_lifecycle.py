"""Bands and unlikeness of results; which model is active, shadow or retired, with who, why and when.

Rows of 0001 are kept: states of models are spelt in capitals, the active model gets its first event, batches become
re-runs. Columns are added with their CHECKs in one statement, which both databases do without rewriting a big table;
only `model`, a handful of rows, is rebuilt on SQLite.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.types import NOW_UTC
from worker.db.schema.views import create_view, drop_view

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
#: All views: each reads a table that changes.
BEFORE = {"worklist": 1, "result_history": 1, "refused": 1, "batch_progress": 1, "queue_health": 1}
AFTER = BEFORE | {"worklist": 2, "result_history": 2, "batch_progress": 2, "shadow_comparison": 1}
BANDS = "'LOW', 'INTERMEDIATE', 'HIGH'"
OLD_STATES, NEW_STATES = "'active', 'available'", "'AVAILABLE', 'ACTIVE', 'SHADOW', 'RETIRED'"
OLD_INDEX, NEW_INDEX = "state = 'active'", "state IN ('ACTIVE', 'SHADOW')"
#: Table, column, type with its CHECKs, comment.
COLUMNS = (
    (
        "result",
        "band",
        (
            f"VARCHAR(16) CONSTRAINT ck_result_band CHECK (band IN ({BANDS})) "
            "CONSTRAINT ck_result_band_if_ok CHECK (band IS NULL OR outcome = 'OK')"
        ),
        "band of the probability",
    ),
    (
        "result",
        "unlikeness",
        "{double} CONSTRAINT ck_result_unlikeness_range CHECK (unlikeness >= 0)",
        "from the training films; above 1 is out of the model's scope",
    ),
    (
        "study",
        "band",
        (
            f"VARCHAR(16) CONSTRAINT ck_study_band CHECK (band IN ({BANDS})) "
            "CONSTRAINT ck_study_band_has_label CHECK (band IS NULL OR label IS NOT NULL)"
        ),
        "band of the film that decides",
    ),
    (
        "batch",
        "kind",
        (
            "VARCHAR(16) DEFAULT 'RERUN' NOT NULL CONSTRAINT ck_batch_kind CHECK (kind IN ('RERUN', 'SHADOW')) "
            "CONSTRAINT ck_batch_shadow_never_counts CHECK (kind = 'RERUN' OR keep_current)"
        ),
        "RERUN, or SHADOW: grows with each image",
    ),
)
#: Comments that differ from 0001: where, before, after.
COMMENTS = (
    (
        "COLUMN model.state",
        "active: scores new images; one at most",
        "ACTIVE scores new images, SHADOW beside it; one at most of each",
    ),
    ("COLUMN batch.n_tasks", "images in it", "images in it when it was ordered"),
    (
        "TABLE batch",
        "one re-run: who ordered it, why, and for which images",
        "one re-run, or the work of one shadow model: who ordered it, why, and for which images",
    ),
)


def upgrade() -> None:
    _drop_views(BEFORE)
    double = sa.Double().compile(dialect=op.get_bind().dialect)
    for table, column, kind, meaning in COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind.replace('{double}', double)}")
        _comment(f"COLUMN {table}.{column}", meaning)
    _respell_states(OLD_STATES, NEW_STATES, "uq_model_active", "uq_model_in_use")
    _model_event()
    for what, _, after in COMMENTS:
        _comment(what, after)
    _create_views(AFTER)


def downgrade() -> None:
    """Go back; the work of a shadow stays as a batch that keeps the current results."""
    _drop_views(AFTER)
    op.drop_table("model_event")
    _respell_states(NEW_STATES, OLD_STATES, "uq_model_in_use", "uq_model_active")
    for table, column, _, _ in reversed(COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for what, before, _ in COMMENTS:
        _comment(what, before)
    _create_views(BEFORE)


def _drop_views(views: dict[str, int]) -> None:
    for name in reversed(views):
        drop_view(op.get_bind(), name)


def _create_views(views: dict[str, int]) -> None:
    for name, version in views.items():
        create_view(op.get_bind(), VIEWS, name, version)


def _comment(what: str, text: str) -> None:
    """Write a comment; SQLite has none."""
    if op.get_bind().dialect.name == "postgresql":
        quoted = text.replace("'", "''")
        op.execute(f"COMMENT ON {what} IS '{quoted}'")


def _respell_states(before: str, after: str, index_before: str, index_after: str) -> None:
    """Change the CHECK on the states, the states and the index; the second index is the new one."""
    is_upgrade = after == NEW_STATES
    where = {"uq_model_active": OLD_INDEX, "uq_model_in_use": NEW_INDEX}
    op.drop_index(index_before, "model")
    with op.batch_alter_table("model", copy_from=_model(before)) as batch:
        batch.drop_constraint(op.f("ck_model_state"), type_="check")
    op.execute(
        "UPDATE model SET state = upper(state)"
        if is_upgrade
        else "UPDATE model SET state = CASE WHEN state = 'ACTIVE' THEN 'active' ELSE 'available' END"
    )
    with op.batch_alter_table("model", copy_from=_model()) as batch:
        batch.create_check_constraint(op.f("ck_model_state"), f"state IN ({after})")
    condition = sa.text(where[index_after])
    op.create_index(index_after, "model", ["state"], unique=True, postgresql_where=condition, sqlite_where=condition)


def _model(states: str | None = None) -> sa.Table:
    """The table of 0001, for SQLite, which rebuilds it; its index is dropped before and created again after."""
    checks = [sa.CheckConstraint(f"state IN ({states})", name=op.f("ck_model_state"))] if states else []
    return sa.Table(
        "model",
        sa.MetaData(),
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("preprocess_version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("min_age_years", sa.Integer(), nullable=False),
        sa.Column("max_age_years", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        *checks,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_model_name_version")),
    )


def _model_event() -> None:
    op.create_table(
        "model_event",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("model_id", ID, nullable=False, comment="the model"),
        sa.Column("event", sa.String(length=16), nullable=False, comment="what was done with it"),
        sa.Column("who", sa.String(length=128), nullable=False, comment="who ordered it"),
        sa.Column("why", sa.Text(), nullable=False, comment="why"),
        sa.Column("at", MOMENT, nullable=False, comment="when"),
        sa.CheckConstraint(
            "event IN ('ACTIVATED', 'DEACTIVATED', 'SHADOWED', 'UNSHADOWED', 'RETIRED', 'REINSTATED')",
            name=op.f("ck_model_event_event"),
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_event_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_event")),
        comment="a change of a model's state: who ordered it, why and when; rows are only added",
    )
    op.create_index("ix_model_event_model_id", "model_event", ["model_id"], unique=False)
    event = sa.table("model_event", *(sa.column(name) for name in ("model_id", "event", "who", "why", "at")))
    model = sa.table("model", sa.column("id"), sa.column("state"))
    said = (sa.literal(text) for text in ("ACTIVATED", "auscult migrate", "active when events began to be kept"))
    moment = sa.literal_column(NOW_UTC[op.get_bind().dialect.name])
    active = sa.select(model.c.id, *said, moment).where(model.c.state == "ACTIVE")
    op.execute(sa.insert(event).from_select([column.name for column in event.columns], active))
