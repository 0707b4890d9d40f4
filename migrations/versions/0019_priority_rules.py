"""The reading order by rules that a site may change: each row is due some time after it came, and read rows come last.

Before, all rows of a band came before all of the next, so that one of the last band could wait for ever. Now `priority_rank` is
the moment at which a row is due: its arrival and the time that `priority_rule` allows for rows like it. A row is overtaken
only by rows that come within the longest of these times after it. A trigger keeps the column, as a generated one cannot read
a table.

PostgreSQL writes the table of studies again, as for 0017; in one upgrade from before 0017 it does so twice.
"""

# ruff: noqa: S608 - what the statements are put together from are constants of this file

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: For each kind of row how long after its arrival it is due, in s, and if it is urgent. For rows that came together the order is
#: that of 0017.
RULES = {
    "PNEUMONIA_HIGH": (900, 0),
    "PNEUMONIA": (3_600, 1_800),
    "WITHHELD": (7_200, 5_400),
    "FAILED": (10_800, 9_000),
    "OPEN": (14_400, 12_600),
    "NOT_APPLICABLE": (28_800, 25_200),
    "NORMAL": (86_400, 43_200),
    "NORMAL_LOW": (172_800, 90_000),
}
#: Whatever the rules say, these are due no later than a NORMAL that came at the same moment.
NEVER_BELOW_NORMAL = ("PNEUMONIA_HIGH", "PNEUMONIA", "WITHHELD", "FAILED")
KIND = """
CASE
    WHEN {row}.label = 'PNEUMONIA' AND {row}.band = 'HIGH' THEN 'PNEUMONIA_HIGH'
    WHEN {row}.label = 'PNEUMONIA' THEN 'PNEUMONIA'
    WHEN {row}.state = 'FAILED' THEN 'FAILED'
    WHEN {row}.state = 'WITHHELD' OR replace({row}.flags, 'IDENTITY_CONFLICT', '') <> {row}.flags THEN 'WITHHELD'
    WHEN {row}.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL') THEN 'OPEN'
    WHEN {row}.state = 'NOT_APPLICABLE' THEN 'NOT_APPLICABLE'
    WHEN {row}.band = 'LOW' THEN 'NORMAL_LOW'
    ELSE 'NORMAL'
END
"""
FIRST_RX_MS = {
    "postgresql": (
        "CAST(floor(extract(epoch FROM {row}.first_rx_at - TIMESTAMPTZ '1970-01-01 00:00:00+00') * 1000) AS BIGINT)"
    ),
    "sqlite": "CAST(round((julianday({row}.first_rx_at) - 2440587.5) * 86400000) AS INTEGER)",
}
#: Read rows come after all others. 13 digits of ms and one before them: exact where JSON numbers are doubles.
RANK = """
CASE WHEN {row}.read_at IS NULL THEN 0 ELSE 100000000000000 END + {first_rx_ms} + CAST(1000 AS BIGINT) * {allowed}
"""
ALLOWED = """
(
    SELECT min(CASE
        WHEN rule.kind <> {kind} OR {row}.priority < 0 THEN rule.urgent_s
        ELSE rule.routine_s
    END)
    FROM priority_rule AS rule
    WHERE rule.kind = {kind} OR (rule.kind IN ('NORMAL', 'NORMAL_LOW') AND {kind} IN {never_below})
)
"""
#: What the rank is made of.
INPUTS = ("label", "band", "state", "flags", "priority", "first_rx_at", "read_at", "priority_rank")
COMMENT = "reading order: read or not, and the ms since 1970 at which it is due"
INDEXES = {
    "ix_study_reading_order": (["priority_rank"], "merged_into_id IS NULL"),
    "ix_study_unanswered": (
        ["state", "priority_rank"],
        "state IN ('FAILED', 'WITHHELD') AND merged_into_id IS NULL",
    ),
}
#: When a rule changes, what came in this many days and was not read is ranked again; other rows are at their next change.
AGAIN_DAYS = 7
BEFORE_0019 = """
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
COMMENT_BEFORE = "reading order: band, urgent or not, and ms since 1970 of first_rx_at, as decimal digits"


def rank(dialect: str, row: str) -> str:
    """SQL for the rank of a row by the rules of the table."""
    kind = KIND.format(row=row)
    allowed = ALLOWED.format(row=row, kind=kind, never_below=NEVER_BELOW_NORMAL)
    return RANK.format(row=row, first_rx_ms=FIRST_RX_MS[dialect].format(row=row), allowed=allowed)


def rank_by_defaults(dialect: str) -> str:
    """The same for the rules as they are when the table is made, without a subquery."""
    cases = " ".join(
        f"WHEN '{kind}' THEN CASE WHEN study.priority < 0 THEN {urgent} ELSE {routine} END"
        for kind, (routine, urgent) in RULES.items()
    )
    allowed = f"CASE {KIND.format(row='study')} {cases} END"
    return RANK.format(row="study", first_rx_ms=FIRST_RX_MS[dialect].format(row="study"), allowed=allowed).replace(
        "study.", ""
    )


def postgres_triggers() -> tuple[str, ...]:
    changed = f"({', '.join(f'OLD.{name}' for name in INPUTS)}) IS DISTINCT FROM ({', '.join(f'NEW.{name}' for name in INPUTS)})"
    return (
        f"""
CREATE FUNCTION study_ranked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.priority_rank := {rank("postgresql", "NEW")};
    RETURN NEW;
END
$$
""",
        # Behind `study_changed`, which takes the reader's mark away: triggers run in the order of their names.
        "CREATE TRIGGER study_ranked_insert BEFORE INSERT ON study FOR EACH ROW EXECUTE FUNCTION study_ranked()",
        (
            f"CREATE TRIGGER study_ranked_update BEFORE UPDATE ON study FOR EACH ROW "
            f"WHEN ({changed} OR OLD.revision <> NEW.revision) EXECUTE FUNCTION study_ranked()"
        ),
        f"""
CREATE FUNCTION studies_ranked_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE study SET priority_rank = 0
    WHERE read_at IS NULL AND first_rx_at > statement_timestamp() - INTERVAL '{AGAIN_DAYS} days';
    RETURN NULL;
END
$$
""",
        (
            "CREATE TRIGGER priority_rule_changed AFTER UPDATE ON priority_rule "
            "FOR EACH STATEMENT EXECUTE FUNCTION studies_ranked_again()"
        ),
    )


def sqlite_triggers() -> tuple[str, ...]:
    ranked = f"UPDATE study SET priority_rank = {rank('sqlite', 'study')} WHERE id = NEW.id"
    return (
        f"CREATE TRIGGER study_ranked_insert AFTER INSERT ON study BEGIN {ranked}; END",
        (
            f"CREATE TRIGGER study_ranked_update AFTER UPDATE OF {', '.join(INPUTS)} ON study "
            f"WHEN {' OR '.join(f'OLD.{name} IS NOT NEW.{name}' for name in INPUTS)} BEGIN {ranked}; END"
        ),
        f"""
CREATE TRIGGER priority_rule_changed AFTER UPDATE ON priority_rule
BEGIN
    UPDATE study SET priority_rank = {rank("sqlite", "study")}
    WHERE read_at IS NULL AND first_rx_at > strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{AGAIN_DAYS} days');
END
""",
    )


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    for name in ("worklist", "worklist_v3"):
        drop_view(connection, name)
    for name in INDEXES:
        op.drop_index(name, "study")
    _priority_rule()
    by_defaults = rank_by_defaults(dialect)
    if dialect == "postgresql":
        connection.exec_driver_sql("ALTER TABLE study ALTER COLUMN priority_rank DROP EXPRESSION")
        connection.exec_driver_sql(f"ALTER TABLE study ALTER COLUMN priority_rank TYPE BIGINT USING ({by_defaults})")
        connection.exec_driver_sql("ALTER TABLE study ALTER COLUMN priority_rank SET DEFAULT 0")
        connection.exec_driver_sql(f"COMMENT ON COLUMN study.priority_rank IS '{COMMENT}'")
    else:
        connection.exec_driver_sql("ALTER TABLE study DROP COLUMN priority_rank")
        connection.exec_driver_sql("ALTER TABLE study ADD COLUMN priority_rank BIGINT NOT NULL DEFAULT 0")
        connection.exec_driver_sql(f"UPDATE study SET priority_rank = {by_defaults}")
    _indexes()
    for statement in postgres_triggers() if dialect == "postgresql" else sqlite_triggers():
        connection.exec_driver_sql(statement)
    create_view(connection, VIEWS, "worklist_v3", 2)
    create_view(connection, VIEWS, "worklist", 6)


def downgrade() -> None:
    connection = op.get_bind()
    is_postgres = connection.dialect.name == "postgresql"
    for name in ("worklist", "worklist_v3"):
        drop_view(connection, name)
    for name, table in (
        ("study_ranked_insert", "study"),
        ("study_ranked_update", "study"),
        ("priority_rule_changed", "priority_rule"),
    ):
        op.execute(f"DROP TRIGGER {name}" + (f" ON {table}" if is_postgres else ""))
    if is_postgres:
        op.execute("DROP FUNCTION study_ranked()")
        op.execute("DROP FUNCTION studies_ranked_again()")
    op.drop_table("priority_rule")
    for name in INDEXES:
        op.drop_index(name, "study")
    op.execute("ALTER TABLE study DROP COLUMN priority_rank")
    first_rx_ms = FIRST_RX_MS[connection.dialect.name].replace("{row}.", "")
    generated = BEFORE_0019.format(first_rx_ms=first_rx_ms)
    stored = "STORED" if is_postgres else "VIRTUAL"
    op.execute(f"ALTER TABLE study ADD COLUMN priority_rank BIGINT GENERATED ALWAYS AS ({generated}) {stored} NOT NULL")
    if is_postgres:
        op.execute(f"COMMENT ON COLUMN study.priority_rank IS '{COMMENT_BEFORE}'")
    _indexes()
    create_view(connection, VIEWS, "worklist_v3", 1)
    create_view(connection, VIEWS, "worklist", 5)


def _indexes() -> None:
    for name, (columns, rows) in INDEXES.items():
        op.create_index(name, "study", columns, postgresql_where=sa.text(rows), sqlite_where=sa.text(rows))


def _priority_rule() -> None:
    table = op.create_table(
        "priority_rule",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("kind", sa.String(16), nullable=False, comment="which rows of the worklist"),
        sa.Column("routine_s", sa.Integer(), nullable=False, comment="how long after its arrival such a row is due"),
        sa.Column("urgent_s", sa.Integer(), nullable=False, comment="the same where its order is urgent"),
        sa.CheckConstraint("routine_s >= 0 AND routine_s <= 31536000", name=op.f("ck_priority_rule_routine")),
        sa.CheckConstraint("urgent_s >= 0 AND urgent_s <= routine_s", name=op.f("ck_priority_rule_urgent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_priority_rule")),
        sa.UniqueConstraint("kind", name=op.f("uq_priority_rule_kind")),
        comment="how long after its arrival a row of the worklist is due, by what it says; a site may change the times",
    )
    rows = [{"kind": kind, "routine_s": routine, "urgent_s": urgent} for kind, (routine, urgent) in RULES.items()]
    op.bulk_insert(table, rows)
