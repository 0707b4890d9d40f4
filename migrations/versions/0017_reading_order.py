"""The reading order as a generated column with an index, indexes for what views count, and settings of big tables.

The rank of the worklist was a number over all rows, so that no filter came before it: 202 s for a page of ten million
studies. Now each row has its own. The views keep their names and columns, so the release before reads them as before.

PostgreSQL writes the table of studies again for the column, and nothing else can read it for that time: about 20 s for
each million studies.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
#: Views by their version before and after. Two are the same text: what they say of the present moment is written otherwise.
CHANGED = {
    "worklist": (3, 4),
    "queue_health": (2, 3),
    "refused": (2, 3),
    "batch_progress": (2, 3),
    "health": (1, 1),
    "withdrawals": (2, 2),
}
# The digit of the band, one for urgent studies, and 13 digits of time: below 2^53, which is exact in any JSON reader.
RANK = """
CASE
    WHEN label = 'PNEUMONIA' AND band = 'HIGH' THEN 0
    WHEN label = 'PNEUMONIA' THEN 1
    WHEN state = 'WITHHELD' THEN 2
    WHEN state = 'FAILED' THEN 3
    WHEN state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL') THEN 4
    WHEN state = 'NOT_APPLICABLE' THEN 5
    WHEN band = 'LOW' THEN 7
    ELSE 6
END * 100000000000000
+ CASE WHEN priority < 0 THEN 0 ELSE 10000000000000 END
+ {first_rx_ms}
"""
FIRST_RX_MS = {
    "postgresql": (
        "CAST(floor(extract(epoch FROM first_rx_at - TIMESTAMPTZ '1970-01-01 00:00:00+00') * 1000) AS BIGINT)"
    ),
    "sqlite": "CAST(round((julianday(first_rx_at) - 2440587.5) * 86400000) AS INTEGER)",
}
COMMENT = "reading order: band, urgent or not, and ms since 1970 of first_rx_at, as decimal digits"
IS_OPEN = "state IN ('PENDING', 'CLAIMED')"
#: Indexes: table, columns, and the rows that they hold.
INDEXES = {
    "ix_study_reading_order": ("study", ["priority_rank"], "merged_into_id IS NULL"),
    "ix_study_unanswered": (
        "study",
        ["state", "priority_rank"],
        "state IN ('FAILED', 'WITHHELD') AND merged_into_id IS NULL",
    ),
    "ix_task_open_of_batch": ("task", ["batch_id", "id"], f"{IS_OPEN} AND batch_id IS NOT NULL"),
    "ix_task_claimed": ("task", ["id"], "state = 'CLAIMED'"),
    "ix_task_interrupted": ("task", ["id"], f"{IS_OPEN} AND interruptions > 0"),
    "ix_result_not_ok": ("result", ["created_at"], "outcome <> 'OK'"),
}
#: Rows that change several times stay in their page, and the dead ones go before a fifth of a big table is dead.
FILL = {"study": 85, "task": 85}
VACUUMED = ("study", "image", "task", "result")
VACUUM = {
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_insert_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.02",
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    for name in CHANGED:
        drop_view(op.get_bind(), name)
    if dialect == "postgresql":
        for table in VACUUMED:
            op.execute(f"ALTER TABLE {table} SET ({_settings(table)})")
    rank = RANK.format(first_rx_ms=FIRST_RX_MS[dialect])
    stored = "STORED" if dialect == "postgresql" else "VIRTUAL"
    op.execute(f"ALTER TABLE study ADD COLUMN priority_rank BIGINT GENERATED ALWAYS AS ({rank}) {stored} NOT NULL")
    if dialect == "postgresql":
        op.execute(f"COMMENT ON COLUMN study.priority_rank IS '{COMMENT}'")
    for name, (table, columns, rows) in INDEXES.items():
        op.create_index(name, table, columns, postgresql_where=sa.text(rows), sqlite_where=sa.text(rows))
    for name, (_, after) in CHANGED.items():
        create_view(op.get_bind(), VIEWS, name, after)


def downgrade() -> None:
    for name in CHANGED:
        drop_view(op.get_bind(), name)
    for name, (table, _, _) in INDEXES.items():
        op.drop_index(name, table)
    op.execute("ALTER TABLE study DROP COLUMN priority_rank")
    if op.get_bind().dialect.name == "postgresql":
        for table in VACUUMED:
            names = [*VACUUM, *(["fillfactor"] if table in FILL else [])]
            op.execute(f"ALTER TABLE {table} RESET ({', '.join(names)})")
    for name, (before, _) in CHANGED.items():
        create_view(op.get_bind(), VIEWS, name, before)


def _settings(table: str) -> str:
    settings = VACUUM | ({"fillfactor": str(FILL[table])} if table in FILL else {})
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
