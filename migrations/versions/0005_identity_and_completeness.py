"""Whose film is it, and when is a study complete: versions by source, conflicts, corrections, inboxes; WITHHELD.

Existing images get one receipt each, from their sender at their arrival; their patient is that of the study's row, and
their pixels are unknown. A film that the release before moved to another study, because its SOP Instance UID came there,
counts in both again: a conflict is opened, and the dispatcher computes both answers again. SQLite cannot change a CHECK,
so `study` is rebuilt there. `downgrade` turns a withheld study to FAILED (never to NORMAL); the rows of other patients
keep their films under a marked Study Instance UID, because the older schema has one row for each UID.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.types import NOW_UTC
from worker.db.schema.views import create_view, drop_view

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
VIEWS = Path(__file__).resolve().parents[1] / "views"
#: All views: each reads a table that changes.
BEFORE = {
    "worklist": 2,
    "result_history": 3,
    "refused": 2,
    "batch_progress": 2,
    "queue_health": 1,
    "shadow_comparison": 1,
}
AFTER = BEFORE | {"worklist": 3, "conflicts": 1}
OLD_STATES = "'RECEIVING', 'QUEUED', 'PROVISIONAL', 'FINAL', 'NOT_APPLICABLE', 'FAILED'"
NEW_STATES = f"{OLD_STATES}, 'WITHHELD'"
#: CHECKs of `study`: name, before, after.
CHECKS = (
    ("ck_study_state", f"state IN ({OLD_STATES})", f"state IN ({NEW_STATES})"),
    (
        "ck_study_no_label_without_answer",
        "label IS NULL OR state NOT IN ('FAILED', 'NOT_APPLICABLE')",
        "label IS NULL OR state NOT IN ('FAILED', 'NOT_APPLICABLE', 'WITHHELD')",
    ),
)
OLD_UNIQUE, NEW_UNIQUE = ("uq_study_study_uid", "study_uid"), ("uq_study_study_uid_side", "study_uid, side")
WITHHELD = ("ck_study_withheld_has_reason", "state <> 'WITHHELD' OR reason IS NOT NULL")
SILENT_INDEX = "CREATE INDEX ix_study_listener_silent ON study (ready_at_ms) WHERE flags LIKE '%LISTENER_SILENT%'"
#: Table, column, type, comment.
COLUMNS = (
    (
        "study",
        "side",
        f"INTEGER DEFAULT 0 NOT NULL CONSTRAINT {WITHHELD[0]} CHECK ({WITHHELD[1]})",
        "0; counts up for each other patient that objects of the same Study Instance UID name",
    ),
    ("study", "issuer_of_patient_id", "VARCHAR(64) DEFAULT '' NOT NULL", "Issuer of Patient ID (0010,0021)"),
    (
        "study",
        "columns_at_ms",
        "BIGINT DEFAULT 0 NOT NULL",
        "arrival of the object that patient and study columns follow (database clock)",
    ),
    ("study", "quiet_ms", "INTEGER DEFAULT 30000 NOT NULL", "quiet time it waits; bounds ready_at_ms after now"),
    ("study", "max_wait_ms", "INTEGER DEFAULT 900000 NOT NULL", "longest wait; bounds force_at_ms after now"),
    (
        "study",
        "n_expected",
        "INTEGER",
        "Number of Study Related Instances (0020,1208) as the source answered; NULL: not asked",
    ),
    (
        "study",
        "merged_into_id",
        "{id} CONSTRAINT fk_study_merged_into_id_study REFERENCES study (id)",
        "the study that took its films over; such a row is shown nowhere",
    ),
    (
        "image",
        "patient_key",
        "VARCHAR(64) DEFAULT '' NOT NULL",
        "SHA-256 of its Patient ID, empty where it has none",
    ),
    ("image", "issuer_of_patient_id", "VARCHAR(64) DEFAULT '' NOT NULL", "Issuer of Patient ID (0010,0021)"),
    (
        "image",
        "pixel_sha256",
        "VARCHAR(64) DEFAULT '' NOT NULL",
        "of the data set from Pixel Data on; empty: not known, or no pixel data",
    ),
)
CURRENT_BEFORE = "the newest bytes of this SOP Instance UID"
CURRENT_AFTER = "the version of this SOP Instance UID that counts in its study"
#: Columns of an answer, which are cleared in a study whose answer is computed again.
ANSWER = ("label", "probability", "threshold", "band", "reason", "finished_at")
CONFLICT = ("kind", "held_study_id", "claim_study_id", "sop_uid", "opened_at")
RECEIPT = ("image_id", "source", "first_at_ms", "last_at_ms", "last_key")
EPOCH_MS = {
    "postgresql": "CAST(floor(extract(epoch FROM received_at) * 1000) AS BIGINT)",
    "sqlite": "CAST((julianday(received_at) - 2440587.5) * 86400000 AS INTEGER)",
}


def upgrade() -> None:
    _drop_views(AFTER.keys() & BEFORE.keys())
    identity = ID.compile(dialect=op.get_bind().dialect)
    for table, column, kind, meaning in COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind.replace('{id}', identity)}")
        _comment(f"COLUMN {table}.{column}", meaning)
    _change_study(OLD_UNIQUE, NEW_UNIQUE, {name: (old, new) for name, old, new in CHECKS})
    op.execute(sa.text(SILENT_INDEX))
    op.drop_index("uq_image_current", "image")
    op.execute("CREATE UNIQUE INDEX uq_image_current ON image (study_id, sop_uid) WHERE is_current")
    op.create_index("ix_image_sop_uid", "image", ["sop_uid"])
    _comment("COLUMN image.is_current", CURRENT_AFTER)
    _receipt()
    _conflict()
    _correction()
    _inbox()
    _give_back_films()
    _create_views(AFTER)


def downgrade() -> None:
    _drop_views(AFTER)
    for table in ("inbox", "correction", "conflict", "receipt"):
        op.drop_table(table)
    op.execute("UPDATE study SET state = 'FAILED' WHERE state = 'WITHHELD'")
    # The release before does not know this reason and would fail on it.
    op.execute(
        "UPDATE study SET reason = 'INTERNAL_ERROR' WHERE reason IN "
        "('IDENTITY_CONFLICT', 'CORRECTION_PENDING', 'ANSWER_LOWERED', 'LISTENER_SILENT', 'STORE_UNAVAILABLE')"
    )
    op.execute("UPDATE study SET study_uid = substr(study_uid, 1, 52) || '#' || id WHERE side <> 0")
    op.execute(
        "UPDATE image SET is_current = false WHERE is_current AND id NOT IN "
        "(SELECT min(id) FROM image WHERE is_current GROUP BY sop_uid)"
    )
    op.drop_index("ix_image_sop_uid", "image")
    op.drop_index("uq_image_current", "image")
    op.execute("CREATE UNIQUE INDEX uq_image_current ON image (sop_uid) WHERE is_current")
    _comment("COLUMN image.is_current", CURRENT_BEFORE)
    op.drop_index("ix_study_listener_silent", "study")
    _change_study(NEW_UNIQUE, OLD_UNIQUE, {name: (new, old) for name, old, new in CHECKS})
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE study DROP CONSTRAINT {WITHHELD[0]}")
    for table, column, _, _ in reversed(COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    _create_views(BEFORE)


def _drop_views(names: object) -> None:
    for name in sorted(names):
        drop_view(op.get_bind(), name)


def _create_views(views: dict[str, int]) -> None:
    for name, version in views.items():
        create_view(op.get_bind(), VIEWS, name, version)


def _comment(what: str, text: str) -> None:
    """Write a comment; SQLite has none."""
    if op.get_bind().dialect.name == "postgresql":
        quoted = text.replace("'", "''")
        op.execute(f"COMMENT ON {what} IS '{quoted}'")


def _change_study(before: tuple[str, str], after: tuple[str, str], checks: dict[str, tuple[str, str]]) -> None:
    if op.get_bind().dialect.name == "sqlite":
        texts = {f"CHECK ({old})": f"CHECK ({new})" for old, new in checks.values()}
        _copy_study(texts | {f"{before[0]} UNIQUE ({before[1]})": f"{after[0]} UNIQUE ({after[1]})"})
        return
    for name, (_, new) in checks.items():
        op.execute(f"ALTER TABLE study DROP CONSTRAINT {name}")
        op.execute(f"ALTER TABLE study ADD CONSTRAINT {name} CHECK ({new})")
    op.execute(f"ALTER TABLE study DROP CONSTRAINT {before[0]}")
    op.execute(f"ALTER TABLE study ADD CONSTRAINT {after[0]} UNIQUE ({after[1]})")


def _copy_study(texts: dict[str, str]) -> None:
    """Rebuild the table with a changed definition (SQLite, "Making Other Kinds Of Table Schema Changes")."""
    connection = op.get_bind()
    definition = connection.scalar(sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'study'"))
    kept = sa.text("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'study' AND sql IS NOT NULL")
    indexes = connection.scalars(kept).all()
    for old, new in texts.items():
        if definition.count(old) != 1:
            msg = "the table study is not as revision 0004 left it"
            raise RuntimeError(msg)
        definition = definition.replace(old, new)
    head, _, body = definition.partition("(")
    connection.exec_driver_sql(f"{head.replace('study', 'study_new')}({body}")
    connection.exec_driver_sql("INSERT INTO study_new SELECT * FROM study")
    connection.exec_driver_sql("DROP TABLE study")
    connection.exec_driver_sql("ALTER TABLE study_new RENAME TO study")
    for index in indexes:
        connection.exec_driver_sql(index)


def _give_back_films() -> None:
    connection = op.get_bind()
    image = sa.table("image", *(sa.column(name) for name in ("id", "study_id", "sop_uid", "is_current")))
    films = sa.select(image.c.study_id, image.c.sop_uid, sa.func.max(image.c.id).label("newest"))
    films = films.group_by(image.c.study_id, image.c.sop_uid).subquery()
    current = sa.alias(image)
    counts_here = sa.exists().where(
        current.c.study_id == films.c.study_id, current.c.sop_uid == films.c.sop_uid, current.c.is_current
    )
    lost = connection.execute(
        sa.select(films.c.newest, films.c.study_id, films.c.sop_uid, current.c.study_id.label("taker"))
        .join(current, sa.and_(current.c.sop_uid == films.c.sop_uid, current.c.is_current))
        .where(~counts_here.correlate(films))
    ).all()
    study = sa.table("study", *(sa.column(name) for name in ("id", "state", *ANSWER)))
    conflict = sa.table("conflict", *(sa.column(name) for name in CONFLICT))
    moment = sa.literal_column(NOW_UTC[connection.dialect.name])
    for newest, study_id, sop_uid, taker in lost:
        connection.execute(sa.update(image).where(image.c.id == newest).values(is_current=True))
        row = {"kind": "SOP_INSTANCE", "held_study_id": study_id, "claim_study_id": taker, "sop_uid": sop_uid}
        connection.execute(sa.insert(conflict).values(**row, opened_at=moment))
        doubted = study.c.id.in_((study_id, taker))
        connection.execute(sa.update(study).where(doubted).values(state="PROVISIONAL", **dict.fromkeys(ANSWER)))


def _receipt() -> None:
    op.create_table(
        "receipt",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("image_id", ID, nullable=False, comment="the version"),
        sa.Column("source", sa.String(64), nullable=False, comment="calling AE title of the sender; empty for ingest"),
        sa.Column(
            "first_at_ms", sa.BigInteger(), nullable=False, comment="first arrival from this source (database clock)"
        ),
        sa.Column(
            "last_at_ms", sa.BigInteger(), nullable=False, comment="last arrival from this source (database clock)"
        ),
        sa.Column(
            "last_key",
            sa.String(64),
            nullable=False,
            comment="spool key of the last one: registering it again counts nothing",
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_receipt_image_id_image")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
        sa.UniqueConstraint("image_id", "source", name=op.f("uq_receipt_image_id_source")),
        comment="one version of an object as one source sent it",
    )
    image = sa.table("image", *(sa.column(name) for name in ("id", "calling_aet", "store_key")))
    moment = sa.literal_column(EPOCH_MS[op.get_bind().dialect.name])
    receipt = sa.table("receipt", *(sa.column(name) for name in RECEIPT))
    known = sa.select(image.c.id, image.c.calling_aet, moment, moment, image.c.store_key)
    op.execute(sa.insert(receipt).from_select(RECEIPT, known))


def _conflict() -> None:
    op.create_table(
        "conflict",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("kind", sa.String(16), nullable=False, comment="SOP_INSTANCE or PATIENT"),
        sa.Column("held_study_id", ID, nullable=False, comment="the study that was there first"),
        sa.Column("claim_study_id", ID, nullable=False, comment="the study that contradicts it"),
        sa.Column(
            "sop_uid", sa.String(64), nullable=False, comment="the object in both studies; empty for kind PATIENT"
        ),
        sa.Column("opened_at", MOMENT, nullable=False, comment="when it was found"),
        sa.Column("closed_at", MOMENT, nullable=True, comment="when it ended"),
        sa.Column("resolution", sa.String(16), nullable=True, comment="how it ended"),
        sa.Column("who", sa.String(128), nullable=True, comment="who or what ended it"),
        sa.Column("why", sa.Text(), nullable=True, comment="why"),
        sa.CheckConstraint("kind IN ('SOP_INSTANCE', 'PATIENT')", name=op.f("ck_conflict_kind")),
        sa.CheckConstraint(
            "resolution IN ('WITHDRAWN', 'HELD', 'CLAIM', 'BOTH', 'SAME')", name=op.f("ck_conflict_resolution")
        ),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (resolution IS NULL)", name=op.f("ck_conflict_closed_has_resolution")
        ),
        sa.ForeignKeyConstraint(["held_study_id"], ["study.id"], name=op.f("fk_conflict_held_study_id_study")),
        sa.ForeignKeyConstraint(["claim_study_id"], ["study.id"], name=op.f("fk_conflict_claim_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conflict")),
        comment="two studies that contradict each other about a patient or an object",
    )
    op.execute(
        "CREATE UNIQUE INDEX uq_conflict_open ON conflict (held_study_id, claim_study_id, sop_uid) "
        "WHERE closed_at IS NULL"
    )
    op.create_index("ix_conflict_claim_study_id", "conflict", ["claim_study_id"])
    op.create_index("ix_conflict_held_study_id", "conflict", ["held_study_id"])


def _correction() -> None:
    op.create_table(
        "correction",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("study_id", ID, nullable=False, comment="the study"),
        sa.Column("image_id", ID, nullable=True, comment="the version that brought it"),
        sa.Column("at", MOMENT, nullable=False, comment="when it was registered"),
        sa.Column("source", sa.String(64), nullable=False, comment="calling AE title of the sender; empty for ingest"),
        sa.Column("column_name", sa.String(64), nullable=False, comment="column of study"),
        sa.Column("old_value", sa.String(512), nullable=False, comment="value before, empty where there was none"),
        sa.Column("new_value", sa.String(512), nullable=False, comment="value after"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_correction_study_id_study")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_correction_image_id_image")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
        comment="a patient or study column that a newer version of an object changed; rows are only added",
    )
    op.create_index("ix_correction_study_id", "correction", ["study_id"])


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("uid", sa.String(32), nullable=False, comment="identity of the spool, kept in its folder"),
        sa.Column("host", sa.String(128), nullable=False, comment="machine of its listener"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="process of its listener"),
        sa.Column("started_at", MOMENT, nullable=False, comment="when its listener started"),
        sa.Column("heartbeat_at", MOMENT, nullable=False, comment="when its listener last said so"),
        sa.Column(
            "registered_until_ms",
            sa.BigInteger(),
            nullable=False,
            comment="everything acknowledged until then is registered (database clock)",
        ),
        sa.Column("waiting", sa.Integer(), nullable=False, comment="acknowledged objects not yet registered"),
        sa.Column(
            "closed_at", MOMENT, nullable=True, comment="orderly end with nothing left to register; holds up no study"
        ),
        sa.Column("retired_at", MOMENT, nullable=True, comment="by command: holds up no study any more"),
        sa.Column("retired_by", sa.String(128), nullable=True, comment="who retired it"),
        sa.Column("retired_why", sa.Text(), nullable=True, comment="why"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("uid", name=op.f("uq_inbox_uid")),
        comment="a listener's spool, and how far everything it acknowledged is registered",
    )
