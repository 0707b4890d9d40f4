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

from worker.db.engine import make_engine
from worker.db.migrate import Migrated, check_revision, migrate, scripts_folder
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
