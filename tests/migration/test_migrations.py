"""Migrations: one head, there and back again, equal to the models, safe when several start at once."""

from __future__ import annotations

import logging
import multiprocessing

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from worker.db.engine import make_engine
from worker.db.migrate import Migrated, _exclusive, check_revision, migrate, scripts_folder
from worker.db.schema import Base
from worker.db.views import VIEW_NAMES
from worker.errors import SchemaTooNew, SchemaTooOld

pytestmark = pytest.mark.integration


@pytest.fixture
def engine(database_url):
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def config() -> Config:
    found = Config()
    found.set_main_option("script_location", str(scripts_folder()))
    return found


def step(engine, direction, revision: str) -> None:
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        direction(settings, revision)


def objects(engine) -> dict[str, object]:
    """Tables with columns and constraints, and views, as the database knows them."""
    found = inspect(engine)
    return {
        "views": sorted(found.get_view_names()),
        **{
            table: (
                sorted(
                    (column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(table)
                ),
                sorted(str(check["name"]) for check in found.get_check_constraints(table)),
                sorted(str(key["name"]) for key in found.get_foreign_keys(table)),
                sorted(str(index["name"]) for index in found.get_indexes(table)),
            )
            for table in found.get_table_names()
        },
    }


def head() -> str:
    revision = ScriptDirectory.from_config(config()).get_current_head()
    assert revision is not None
    return revision


def test_there_is_one_head():
    assert len(ScriptDirectory.from_config(config()).get_heads()) == 1


def test_migrating_brings_every_table_and_view(engine):
    assert migrate(engine) == Migrated(None, head())
    assert migrate(engine) == Migrated(head(), head())
    check_revision(engine)
    assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    assert set(inspect(engine).get_view_names()) == set(VIEW_NAMES)


def test_up_down_and_up_again_is_the_same(engine):
    migrate(engine)
    first = objects(engine)
    step(engine, command.downgrade, "base")
    assert objects(engine) == {"views": [], "alembic_version": objects(engine)["alembic_version"]}
    step(engine, command.upgrade, "head")
    assert objects(engine) == first


def test_the_models_are_what_the_migrations_make(engine):
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _parents: not (kind == "table" and name in VIEW_NAMES),
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_the_checks_of_the_models_are_those_of_the_database(engine):
    """Alembic's comparison does not look at CHECK constraints."""
    migrate(engine)
    for table in Base.metadata.sorted_tables:
        modelled = sorted(str(c.name) for c in table.constraints if type(c).__name__ == "CheckConstraint")
        assert sorted(str(check["name"]) for check in inspect(engine).get_check_constraints(table.name)) == modelled


def test_a_database_without_a_schema_says_what_to_run(engine):
    with pytest.raises(SchemaTooOld, match=rf"holds no schema yet, this release needs {head()}: run 'auscult migrate'"):
        check_revision(engine)


def test_a_newer_schema_is_left_alone(engine):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    expected = rf"has revision 9999, this release knows {head()} as the newest: upgrade Auscult"
    with pytest.raises(SchemaTooNew, match=expected):
        check_revision(engine)
    with pytest.raises(SchemaTooNew, match=expected):
        migrate(engine)


def test_a_migration_that_fails_leaves_nothing_behind(engine, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("the power is gone")

    monkeypatch.setattr("worker.db.views.render", broken)
    with pytest.raises(RuntimeError, match="the power is gone"):
        migrate(engine)
    assert inspect(engine).get_table_names() == []
    monkeypatch.undo()
    migrate(engine)


def _migrate_at(url: str) -> tuple[str | None, str]:
    engine = make_engine(url)
    done = migrate(engine)
    engine.dispose()
    return done.before, done.after


@pytest.mark.slow
def test_of_several_migrations_at_once_one_works_and_the_others_wait(database_url):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        done = pool.map(_migrate_at, [database_url] * 3, chunksize=1)
    assert sorted(done, key=str) == sorted([(None, head()), (head(), head()), (head(), head())], key=str)


def test_an_account_that_may_make_no_roles_gets_a_warning_with_the_sql(postgres_server, postgres_url, caplog):
    if not postgres_server.owned:
        pytest.skip("a role that may not be made is tried on a server of our own")
    admin = make_engine(postgres_server.url())
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Roles belong to the server: other tests may have made the readers' role there.
        connection.execute(text("CREATE ROLE plain LOGIN"))
        if _has_role(connection):
            connection.execute(text("ALTER ROLE auscult_reader RENAME TO put_aside"))
        connection.execute(text(f'ALTER DATABASE "{make_url(postgres_url).database}" OWNER TO plain'))
    engine = make_engine(str(postgres_url).replace("postgres@", "plain@"))
    try:
        with caplog.at_level(logging.WARNING, "worker.db.migrate"):
            migrate(engine)
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert (
            "CREATE ROLE auscult_reader NOLOGIN; GRANT USAGE ON SCHEMA public TO auscult_reader; GRANT SELECT"
            in warning
        )
        check_revision(engine)
    finally:
        engine.dispose()
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            postgres_server.drop_database(postgres_url)
            connection.execute(text("DROP ROLE plain"))
            if _has_role(connection, "put_aside"):
                connection.execute(text("ALTER ROLE put_aside RENAME TO auscult_reader"))
        admin.dispose()


def _has_role(connection, name: str = "auscult_reader") -> bool:
    return connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name}).first() is not None


#: What 0001 may hold: an active model and another one, a re-run that flipped a film, a study with its answer.
ROWS_OF_0001 = (
    "INSERT INTO model VALUES (1, 'notebook', '1', 'w', 1, 'd', 0.5, 1, 5, 'active', '2026-01-01 00:00:00')",
    "INSERT INTO model VALUES (2, 'notebook', '2', 'w', 1, 'd', 0.6, 1, 5, 'available', '2026-01-02 00:00:00')",
    "INSERT INTO batch VALUES (1, 'ada', 'newer', '{}', 's', 2, false, '2026-01-03 00:00:00', NULL, 1)",
    (
        "INSERT INTO study VALUES (1, '1.2', 'P', 'N', NULL, 'F', 'A', NULL, '', '2026-01-01 00:00:00', "
        "'2026-01-01 00:00:00', '2026-01-01 00:00:00', 1, 2, 1, 'FINAL', 'PNEUMONIA', 0.9, 0.6, NULL, '[]', 2, 1, 1, "
        "'2026-01-01 00:00:00', 0)"
    ),
    (
        "INSERT INTO image VALUES (1, 1, '1.2.3', '1.2.3.4', 'c', 't', 'h', 'DX', 'CHEST', 'AP', 36, 9, 9, '', 1, true, 1, "
        "'PACS', 'host', 'key', NULL, NULL, NULL, 1, true, '2026-01-01 00:00:00')"
    ),
    *(
        f"INSERT INTO task VALUES ({number}, 'SCORE', 1, {number}, {batch}, 1, 'k{number}', 'DONE', 0, 1, 0, NULL, 1, "
        "NULL, NULL, 0, NULL, NULL, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
        for number, batch in ((1, "NULL"), (2, "1"))
    ),
    *(
        f"INSERT INTO result VALUES ({number}, {number}, 1, {number}, {batch}, 'OK', NULL, '[]', 0.9, 2.2, 0.{4 + number}, "
        f"'PNEUMONIA', 'f', 1, 1.0, 1.0, 'litert', {current}, {before}, {before}, '2026-01-01 00:00:00')"
        for number, batch, current, before in ((1, "NULL", "false", "NULL"), (2, "1", "true", "1"))
    ),
)
TABLES = ("model", "batch", "study", "image", "task", "result")


def held(engine) -> dict[str, list[dict]]:
    with engine.connect() as connection:
        return {
            table: [dict(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY id")).mappings()]
            for table in TABLES
        }


REFUSAL_OF_0001 = (
    "INSERT INTO refusal (uid, at, kind, reason_code, calling_aet, called_aet, peer, study_uid, sop_uid) VALUES "
    "('u', '2026-01-01 00:00:00', 'association', 'CALLING_AE_NOT_ALLOWED', 'EVIL', 'AUSCULT', '10.0.0.1', '', '')"
)


def with_rows(engine, direction, revision: str) -> None:
    """A step on a database that holds rows, as `auscult migrate` makes it."""
    with _exclusive(engine) as connection:
        settings = config()
        settings.attributes["connection"] = connection
        direction(settings, revision)


def test_what_0001_held_survives_0002_there_back_and_there_again(engine):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in ROWS_OF_0001:
            connection.execute(text(statement))
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0002")
        after = held(engine)
        spelt = [{**row, "state": row["state"].upper()} for row in before["model"]]
        assert after["model"] == spelt
        assert after["batch"] == [{**row, "kind": "RERUN"} for row in before["batch"]]
        assert after["study"] == [{**row, "band": None} for row in before["study"]]
        assert after["result"] == [{**row, "band": None, "unlikeness": None} for row in before["result"]]
        assert (after["image"], after["task"]) == (before["image"], before["task"])
        assert [(row["model_id"], row["event"], row["who"]) for row in rows_of(engine, "model_event")] == [
            (1, "ACTIVATED", "auscult migrate")
        ]
        assert [row["model_version"] for row in rows_of(engine, "worklist")] == ["2"]
        assert len(rows_of(engine, "result_history")) == 2
        _use_what_is_new(engine)
        with_rows(engine, command.downgrade, "0001")
        assert held(engine) == before
    migrate(engine)
    if engine.dialect.name == "sqlite":
        assert rows_of(engine, "pragma_foreign_key_check") == []


def test_what_0002_held_survives_0003_there_back_and_there_again(engine):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in (*ROWS_OF_0001, REFUSAL_OF_0001):
            connection.execute(text(statement))
    with_rows(engine, command.upgrade, "0002")
    before, refusals = held(engine), rows_of(engine, "refusal")
    for _ in range(2):
        with_rows(engine, command.upgrade, "0003")
        assert rows_of(engine, "refusal") == [{**row, "times": 1} for row in refusals]
        assert held(engine)["result"] == [{**row, "decoder": None} for row in before["result"]]
        assert [row["times"] for row in rows_of(engine, "refused")] == [1]
        assert [row["decoder"] for row in rows_of(engine, "result_history")] == [None, None]
        with_rows(engine, command.downgrade, "0002")
        assert (held(engine), rows_of(engine, "refusal")) == (before, refusals)


def test_what_0003_held_survives_0004_there_back_and_there_again_but_words_that_nobody_knows(engine):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in ROWS_OF_0001:
            connection.execute(text(statement))
    with_rows(engine, command.upgrade, "0003")
    before = held(engine)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE image SET modality = 'SMITH', body_part = 'SMITH JOHN', view_position = 'JOHN'")
        )
    facts = {"species": "", "derivation": "", "is_test_object": 0, "burned_in_annotation": 0, "polarity_in_doubt": 0}
    kept = {"modality": "OT", "body_part": "", "view_position": ""}
    for _ in range(2):
        with_rows(engine, command.upgrade, "0004")
        assert held(engine)["image"] == [{**row, **kept, **facts} for row in before["image"]]
        with engine.begin() as connection:
            connection.execute(text("UPDATE image SET species = 'ANIMAL', derivation = 'BONE', is_test_object = true"))
        with_rows(engine, command.downgrade, "0003")
        assert held(engine)["image"] == [{**row, **kept} for row in before["image"]]


NEW_OF_0005: dict[str, dict[str, object]] = {
    "study": {
        "side": 0,
        "issuer_of_patient_id": "",
        "columns_at_ms": 0,
        "quiet_ms": 30000,
        "max_wait_ms": 900000,
        "n_expected": None,
        "merged_into_id": None,
    },
    "image": {"patient_key": "", "issuer_of_patient_id": "", "pixel_sha256": ""},
}


def test_what_0004_held_survives_0005_there_back_and_there_again(engine):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in ROWS_OF_0001:
            connection.execute(text(statement))
    with_rows(engine, command.upgrade, "0004")
    before = held(engine)
    for _ in range(2):
        with_rows(engine, command.upgrade, "0005")
        after = held(engine)
        for table, new in NEW_OF_0005.items():
            assert after[table] == [{**row, **new} for row in before[table]]
        assert [(row["image_id"], row["source"], row["last_key"]) for row in rows_of(engine, "receipt")] == [
            (1, "PACS", "key")
        ]
        assert rows_of(engine, "receipt")[0]["first_at_ms"] == 1767225600000
        with_rows(engine, command.downgrade, "0004")
        assert held(engine) == before


def test_a_film_that_the_release_before_moved_to_another_study_counts_in_both_again(engine):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in ROWS_OF_0001:
            connection.execute(text(statement))
    with_rows(engine, command.upgrade, "0004")
    columns = {table: list(held(engine)[table][0]) for table in ("study", "image")}
    with engine.begin() as connection:
        for table, changes in (
            ("study", {"id": 2, "study_uid": "'1.3'"}),
            ("image", {"id": 2, "study_id": 2, "sha256": "'other'"}),
        ):
            names = columns[table]
            values = ", ".join(str(changes.get(name, name)) for name in names)
            connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table}"))
            if table == "study":
                connection.execute(text("UPDATE image SET is_current = false"))
        connection.execute(text("UPDATE image SET is_current = true WHERE id = 2"))
    with_rows(engine, command.upgrade, "0005")
    assert [
        (row["study_id"], bool(row["is_current"]))
        for row in sorted(rows_of(engine, "image"), key=lambda row: row["id"])
    ] == [(1, True), (2, True)]
    assert [(row["held_study_id"], row["claim_study_id"], row["kind"]) for row in rows_of(engine, "conflict")] == [
        (1, 2, "SOP_INSTANCE")
    ]
    assert [(row["ai_status"], row["label"]) for row in rows_of(engine, "worklist")] == [("PROVISIONAL", None)] * 2


def test_a_withheld_study_and_another_patient_of_a_study_survive_the_way_back_from_0005(engine):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in ROWS_OF_0001:
            connection.execute(text(statement))
    with_rows(engine, command.upgrade, "0005")
    columns = "study_uid, patient_id, patient_name, patient_sex, accession_number, study_description, first_rx_at, "
    columns += "last_rx_at, revision_at, ready_at_ms, force_at_ms, revision, state, reason, flags, n_images, n_scored, priority"
    with engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO study (id, {columns}, side, issuer_of_patient_id, columns_at_ms, quiet_ms, max_wait_ms) "
                "SELECT 2, study_uid, 'Q', patient_name, patient_sex, accession_number, study_description, first_rx_at, "
                "last_rx_at, revision_at, 1, 2, 1, 'WITHHELD', 'IDENTITY_CONFLICT', flags, 1, 1, 0, 1, '', 0, 1, 2 FROM study"
            )
        )
    with_rows(engine, command.downgrade, "0004")
    assert [(row["study_uid"], row["state"], row["label"]) for row in held(engine)["study"]] == [
        ("1.2", "FINAL", "PNEUMONIA"),
        ("1.2#2", "FAILED", None),
    ]


def rows_of(engine, table: str) -> list[dict]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def _use_what_is_new(engine) -> None:
    """Values that the revision before has no place for."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE result SET band = 'HIGH', unlikeness = 0.4"))
        connection.execute(text("UPDATE study SET band = 'HIGH'"))
        connection.execute(text("UPDATE model SET state = 'RETIRED' WHERE id = 2"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE result SET band = 'MIDDLE'",
        "UPDATE result SET unlikeness = -0.1",
        "UPDATE result SET outcome = 'FAILED', reason_code = 'TIMED_OUT', probability = NULL, label = NULL, band = 'LOW'",
        "UPDATE study SET band = 'MIDDLE'",
        "UPDATE study SET state = 'FAILED', label = NULL, band = 'LOW'",
        "UPDATE study SET state = 'WITHHELD', label = NULL, reason = NULL, band = NULL",
        "UPDATE study SET state = 'WITHHELD', reason = 'IDENTITY_CONFLICT'",
        "UPDATE model SET state = 'active'",
        "UPDATE batch SET kind = 'OTHER'",
        "UPDATE batch SET kind = 'SHADOW', keep_current = false",
        "UPDATE model_event SET event = 'SOLD'",
        "UPDATE image SET species = 'SMITH'",
        "UPDATE image SET derivation = 'SMITH JOHN'",
    ],
)
def test_what_can_never_be_true_is_refused_by_the_database(engine, statement):
    with_rows(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        for row in ROWS_OF_0001:
            connection.execute(text(row))
    migrate(engine)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text(statement))
