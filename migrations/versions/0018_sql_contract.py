"""What a worklist needs of SQL: devices, moments that never move, a number for each change, and the reader's verdict.

Triggers keep the new columns of `study`, so that they are right whatever changes the row, the release before included. What
older rows hold: device and institution empty, no change number, and of the moments what `finished_at` says.

A later migration that rebuilds `study` on SQLite must make its triggers again. `downgrade` deletes the readers' verdicts.
"""

# ruff: noqa: S608 - what the statements are put together from are constants of this file

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.types import NOW_UTC
from worker.db.schema.views import create_view, drop_view

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
#: Views by their version before and after, those before that read them first.
CHANGED = {"worklist": (4, 5), "result_history": (5, 6)}
NEW = ("worklist_v3", "worklist_names", "changes", "films", "assessments", "agreement")
OF_IMAGE = {
    "manufacturer": "Manufacturer (0008,0070)",
    "device_model": "Manufacturer's Model Name (0008,1090)",
    "station_name": "Station Name (0008,1010)",
    "institution": "Institution Name (0008,0080)",
}
CHANGE_ID = "counts up with each change that the worklist shows; 0: none yet"
OF_STUDY = {
    "updated_at": (MOMENT, "when the worklist's row last changed; NULL: before schema 0018"),
    "first_finished_at": (MOMENT, "when it was first answered; never moves"),
    "completed_at": (MOMENT, "when it was answered after it was last open; NULL: it is open"),
    "read_at": (MOMENT, "when a person last read this revision"),
    "reader_label": (sa.String(16), "label that the reader gave this revision"),
    "verdict": (sa.String(16), "AGREE or DISAGREE of the reader with the present label"),
}
HAS_CHANGED = sa.text("change_id > 0")
#: The columns of `study` that the worklist shows. Others change without a new number.
SHOWN = (
    *("patient_id", "patient_name", "patient_birth_date", "patient_sex", "accession_number", "study_date"),
    *("study_description", "issuer_of_patient_id", "first_rx_at", "last_rx_at", "revision_at", "revision", "state"),
    *("label", "probability", "threshold", "reason", "flags", "model_id", "n_images", "n_scored", "finished_at"),
    *("priority", "band", "n_expected", "merged_into_id", "requested_priority", "read_at", "reader_label", "verdict"),
)
#: What a change leaves of the reader's mark: nothing once films have come that nobody has read. A label of the reader is
#: compared with whatever the answer is by now; {0} is the row as the statement leaves it, {1} as it was.
IS_UNREAD = "{0}.revision > {1}.revision"
VERDICT = """
CASE
    WHEN {0}.revision > {1}.revision THEN NULL
    WHEN {same_answer} THEN {0}.verdict
    WHEN {0}.reader_label IS NULL OR {0}.label IS NULL THEN NULL
    WHEN {0}.reader_label = {0}.label THEN 'AGREE'
    ELSE 'DISAGREE'
END
"""
COMPLETED = (
    "CASE WHEN {0}.finished_at IS NOT NULL THEN COALESCE({0}.completed_at, {1}.finished_at, {0}.finished_at) END"
)
FIRST = "COALESCE({0}.first_finished_at, {1}.finished_at, {0}.finished_at)"

# The number of a change is that of its transaction, so that a reader can wait for those that began before (view `changes`).
POSTGRES = (
    f"""
CREATE FUNCTION study_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT value + CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT) INTO NEW.change_id FROM change_clock;
    NEW.updated_at := clock_timestamp();
    IF TG_OP = 'INSERT' THEN
        NEW.first_finished_at := NEW.finished_at;
        NEW.completed_at := NEW.finished_at;
    ELSE
        NEW.first_finished_at := {FIRST.format("NEW", "OLD")};
        NEW.completed_at := {COMPLETED.format("NEW", "OLD")};
        NEW.verdict := {VERDICT.format("NEW", "OLD", same_answer="NEW.label IS NOT DISTINCT FROM OLD.label")};
        IF {IS_UNREAD.format("NEW", "OLD")} THEN
            NEW.read_at := NULL;
            NEW.reader_label := NULL;
        END IF;
    END IF;
    -- Equal notices of one transaction are sent once.
    PERFORM pg_notify('auscult_changes', '');
    RETURN NEW;
END
$$
""",
    "CREATE TRIGGER study_changed_insert BEFORE INSERT ON study FOR EACH ROW EXECUTE FUNCTION study_changed()",
    (
        "CREATE TRIGGER study_changed_update BEFORE UPDATE ON study FOR EACH ROW "
        f"WHEN (({', '.join(f'OLD.{name}' for name in SHOWN)}) IS DISTINCT FROM "
        f"({', '.join(f'NEW.{name}' for name in SHOWN)})) EXECUTE FUNCTION study_changed()"
    ),
)
# SQLite has one writer at a time: a counter is in the order of commits.
_STAMP = f"change_id = (SELECT value FROM change_clock), updated_at = {NOW_UTC['sqlite']}"
SQLITE = (
    f"""
CREATE TRIGGER study_changed_insert AFTER INSERT ON study
BEGIN
    UPDATE change_clock SET value = value + 1;
    UPDATE study
    SET {_STAMP}, first_finished_at = NEW.finished_at, completed_at = NEW.finished_at
    WHERE id = NEW.id;
END
""",
    f"""
CREATE TRIGGER study_changed_update AFTER UPDATE ON study
WHEN {" OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in SHOWN)}
BEGIN
    UPDATE change_clock SET value = value + 1;
    UPDATE study
    SET
        {_STAMP},
        first_finished_at = {FIRST.format("NEW", "OLD")},
        completed_at = {COMPLETED.format("NEW", "OLD")},
        verdict = {VERDICT.format("NEW", "OLD", same_answer="NEW.label IS OLD.label")},
        read_at = CASE WHEN {IS_UNREAD.format("NEW", "OLD")} THEN NULL ELSE NEW.read_at END,
        reader_label = CASE WHEN {IS_UNREAD.format("NEW", "OLD")} THEN NULL ELSE NEW.reader_label END
    WHERE id = NEW.id;
END
""",
)

_LABELS = "('NORMAL', 'PNEUMONIA')"
_VERDICT_OF = """
COALESCE(
    NEW.verdict,
    CASE WHEN {study}.label = NEW.label THEN 'AGREE' WHEN {study}.label <> NEW.label THEN 'DISAGREE' END
)
"""
_LABEL_OF = "COALESCE(NEW.label, CASE WHEN NEW.verdict = 'AGREE' THEN {study}.label END)"
_PATIENT = """
COALESCE((
    SELECT min(image.patient_key)
    FROM image
    WHERE image.study_id = {study}.id AND image.is_current AND image.patient_key <> ''
    HAVING count(DISTINCT image.patient_key) = 1
), '')
"""
_COLUMNS = (
    "study_id, at, reader, verdict, label, blinded, airai_code, revision, answer_state, answer_label, probability, threshold, "
    "band, model_id"
)
_OF_STUDY = "{study}.revision, {study}.state, {study}.label, {study}.probability, {study}.threshold, {study}.band, {study}.model_id"
_AUDIT = (
    "at, act, event_code, event_type_code, action, outcome, who, origin, study_uid, side, patient_key, sop_uid, detail"
)
_NO_STUDY = "no study of the worklist has this study_uid and side"

# Who may insert into the view needs no right on the tables: the function has those of their owner.
POSTGRES_ASSESS = """
CREATE FUNCTION assess() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    answer study;
    moment timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO answer FROM study
    WHERE study_uid = NEW.study_uid AND side = COALESCE(NEW.side, 0) AND merged_into_id IS NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION '{no_study}' USING ERRCODE = 'no_data_found';
    END IF;
    NEW.verdict := {verdict};
    NEW.label := {label};
    NEW.side := answer.side;
    NEW.at := moment;
    INSERT INTO assessment ({columns})
    VALUES (
        answer.id, moment, NEW.reader, NEW.verdict, NEW.label, COALESCE(NEW.blinded, false), NEW.airai_code, {of_study}
    )
    RETURNING id INTO NEW.assessment_id;
    UPDATE study SET read_at = moment, reader_label = NEW.label, verdict = NEW.verdict WHERE id = answer.id;
    INSERT INTO audit_event ({audit})
    VALUES (
        moment, 'VERDICT_GIVEN', '110111', '', 'C', 0, NEW.reader,
        left(session_user || '@' || COALESCE(host(inet_client_addr()), 'local'), 128),
        answer.study_uid, answer.side, {patient}, '',
        CAST(json_build_object('assessment', NEW.assessment_id, 'verdict', NEW.verdict, 'label', NEW.label) AS TEXT)
    );
    RETURN NEW;
END
$$
"""
POSTGRES_ASSESS_TRIGGER = (
    "CREATE TRIGGER assessments_insert INSTEAD OF INSERT ON assessments FOR EACH ROW EXECUTE FUNCTION assess()"
)
_FOUND = "study.study_uid = NEW.study_uid AND study.side = COALESCE(NEW.side, 0) AND study.merged_into_id IS NULL"
SQLITE_ASSESS = f"""
CREATE TRIGGER assessments_insert INSTEAD OF INSERT ON assessments
BEGIN
    SELECT RAISE(ABORT, '{_NO_STUDY}') WHERE NOT EXISTS (SELECT 1 FROM study WHERE {_FOUND});
    INSERT INTO assessment ({_COLUMNS})
    SELECT
        study.id, {NOW_UTC["sqlite"]}, NEW.reader, {_VERDICT_OF.format(study="study")}, {_LABEL_OF.format(study="study")},
        COALESCE(NEW.blinded, false), NEW.airai_code, {_OF_STUDY.format(study="study")}
    FROM study
    WHERE {_FOUND};
    UPDATE study
    SET (read_at, reader_label, verdict) = (
        SELECT assessment.at, assessment.label, assessment.verdict
        FROM assessment
        WHERE assessment.study_id = study.id
        ORDER BY assessment.id DESC
        LIMIT 1
    )
    WHERE {_FOUND};
    INSERT INTO audit_event ({_AUDIT})
    SELECT
        assessment.at, 'VERDICT_GIVEN', '110111', '', 'C', 0, assessment.reader, '', study.study_uid, study.side,
        {_PATIENT.format(study="study")}, '',
        json_object('assessment', assessment.id, 'verdict', assessment.verdict, 'label', assessment.label)
    FROM study
    JOIN assessment ON assessment.study_id = study.id
    WHERE {_FOUND}
    ORDER BY assessment.id DESC
    LIMIT 1;
END
"""


def upgrade() -> None:
    connection = op.get_bind()
    for name in CHANGED:
        drop_view(connection, name)
    for name, comment in OF_IMAGE.items():
        op.add_column("image", sa.Column(name, sa.String(64), nullable=False, server_default="", comment=comment))
    change_id = sa.Column("change_id", sa.BigInteger(), nullable=False, server_default="0", comment=CHANGE_ID)
    op.add_column("study", change_id)
    for name, (kind, comment) in OF_STUDY.items():
        op.add_column("study", sa.Column(name, kind, comment=comment))
    op.create_index(
        "ix_study_change_id", "study", ["change_id"], postgresql_where=HAS_CHANGED, sqlite_where=HAS_CHANGED
    )
    _change_clock()
    _assessment()
    for statement in POSTGRES if connection.dialect.name == "postgresql" else SQLITE:
        connection.exec_driver_sql(statement)
    for name in NEW:
        create_view(connection, VIEWS, name, 1)
    for name, (_, after) in CHANGED.items():
        create_view(connection, VIEWS, name, after)
    for statement in _assess_statements(connection):
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    connection = op.get_bind()
    is_postgres = connection.dialect.name == "postgresql"
    for name in (*CHANGED, *reversed(NEW)):
        drop_view(connection, name)
    for name in ("study_changed_insert", "study_changed_update"):
        op.execute(f"DROP TRIGGER {name}" + (" ON study" if is_postgres else ""))
    if is_postgres:
        op.execute("DROP FUNCTION study_changed()")
        op.execute("DROP FUNCTION assess()")
    op.drop_table("assessment")
    op.drop_table("change_clock")
    op.drop_index("ix_study_change_id", "study")
    for name in ("change_id", *OF_STUDY):
        op.execute(f"ALTER TABLE study DROP COLUMN {name}")
    for name in OF_IMAGE:
        op.execute(f"ALTER TABLE image DROP COLUMN {name}")
    for name, (before, _) in CHANGED.items():
        create_view(connection, VIEWS, name, before)


def _assess_statements(connection: sa.Connection) -> tuple[str, ...]:
    if connection.dialect.name != "postgresql":
        return (SQLITE_ASSESS,)
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    function = POSTGRES_ASSESS.format(
        schema=schema,
        no_study=_NO_STUDY,
        verdict=_VERDICT_OF.format(study="answer"),
        label=_LABEL_OF.format(study="answer"),
        columns=_COLUMNS,
        of_study=_OF_STUDY.format(study="answer"),
        audit=_AUDIT,
        patient=_PATIENT.format(study="answer"),
    )
    return function, POSTGRES_ASSESS_TRIGGER


def _change_clock() -> None:
    op.create_table(
        "change_clock",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column(
            "value",
            sa.BigInteger(),
            nullable=False,
            comment="SQLite: the last number; PostgreSQL: what is added to the number of a transaction",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_clock")),
        comment="one row: what numbers of changes are counted from",
    )
    op.execute("INSERT INTO change_clock (value) VALUES (0)")


def _assessment() -> None:
    op.create_table(
        "assessment",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("study_id", ID, nullable=False, comment="the study"),
        sa.Column("at", MOMENT, nullable=False, comment="when it was recorded, by the database's clock"),
        sa.Column("reader", sa.String(128), nullable=False, comment="who has read the study"),
        sa.Column("verdict", sa.String(16), comment="AGREE or DISAGREE; NULL: read without a verdict"),
        sa.Column("label", sa.String(16), comment="NORMAL or PNEUMONIA, as the reader sees it"),
        sa.Column("blinded", sa.Boolean(), nullable=False, comment="whether it was given without sight of the answer"),
        sa.Column(
            "airai_code",
            sa.String(16),
            comment="code of the scheme 99IHE that the reader's system gave (IHE AIRAI)",
        ),
        sa.Column("revision", sa.Integer(), nullable=False, comment="the study's revision at that time"),
        sa.Column("answer_state", sa.String(16), nullable=False, comment="its state at that time"),
        sa.Column("answer_label", sa.String(16), comment="its label at that time"),
        sa.Column("probability", sa.Double(), comment="its probability at that time"),
        sa.Column("threshold", sa.Double(), comment="its threshold at that time"),
        sa.Column("band", sa.String(16), comment="its band at that time"),
        sa.Column("model_id", ID, comment="the model of its answer at that time"),
        sa.CheckConstraint(f"label IN {_LABELS}", name=op.f("ck_assessment_label")),
        sa.CheckConstraint(f"answer_label IN {_LABELS}", name=op.f("ck_assessment_answer_label")),
        sa.CheckConstraint("verdict IN ('AGREE', 'DISAGREE')", name=op.f("ck_assessment_verdict")),
        sa.CheckConstraint(
            "verdict IS NULL OR answer_label IS NOT NULL", name=op.f("ck_assessment_verdict_on_an_answer")
        ),
        sa.CheckConstraint(
            "verdict <> 'AGREE' OR label = answer_label", name=op.f("ck_assessment_agree_is_the_same_label")
        ),
        sa.CheckConstraint(
            "verdict <> 'DISAGREE' OR label IS NULL OR label <> answer_label",
            name=op.f("ck_assessment_disagree_is_another"),
        ),
        sa.CheckConstraint("reader <> ''", name=op.f("ck_assessment_reader")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_assessment_study_id_study")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_assessment_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessment")),
        comment="that a person has read a study, and the verdict on its answer; rows are only added",
    )
    op.create_index("ix_assessment_study_id", "assessment", ["study_id"])
    op.create_index("ix_assessment_at", "assessment", ["at"])
