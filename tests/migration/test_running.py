"""Running the migrations: on another schema, several at once, after a failure, and without the right to add roles."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import inspect, make_url, text

from tests.support.migrations import head
from tests.support.processes import processes
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import ROLES, migrate
from worker.db.schema.revision import check_revision
from worker.errors import SchemaTooNew, SchemaTooOld

pytestmark = pytest.mark.integration


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

    monkeypatch.setattr("worker.db.schema.views.render", broken)
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
    with processes(3) as pool:
        done = pool.map(_migrate_at, [database_url] * 3, chunksize=1)
    assert sorted(done, key=str) == sorted([(None, head()), (head(), head()), (head(), head())], key=str)


def test_an_account_that_may_make_no_roles_gets_a_warning_with_the_sql(postgres_server, postgres_url, caplog):
    if not postgres_server.owned:
        pytest.skip("a role that may not be made is tried on a server of our own")
    admin = make_engine(postgres_server.url())
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Roles belong to the server: other tests may have made the readers' roles there.
        connection.execute(text("CREATE ROLE plain LOGIN"))
        put_aside = [role for role in ROLES if _has_role(connection, role)]
        for role in put_aside:
            connection.execute(text(f"ALTER ROLE {role} RENAME TO put_aside_{role}"))
        connection.execute(text(f'ALTER DATABASE "{make_url(postgres_url).database}" OWNER TO plain'))
    engine = make_engine(str(postgres_url).replace("postgres@", "plain@"))
    try:
        with caplog.at_level(logging.WARNING, "worker.db.schema.migrate"):
            migrate(engine)
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        for role in ("auscult_reader", "auscult_auditor"):
            assert f"CREATE ROLE {role} NOLOGIN; GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT" in warning
        check_revision(engine)
    finally:
        engine.dispose()
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            postgres_server.drop_database(postgres_url)
            connection.execute(text("DROP ROLE plain"))
            for role in put_aside:
                connection.execute(text(f"ALTER ROLE put_aside_{role} RENAME TO {role}"))
        admin.dispose()


def _has_role(connection, name: str) -> bool:
    return connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name}).first() is not None
