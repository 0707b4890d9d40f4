"""Connecting: which databases are refused, and errors that name neither secrets nor values."""

from __future__ import annotations

import sqlite3
import stat
from datetime import datetime
from pathlib import Path
from select import select as select_readable
from typing import Any

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, ProgrammingError, StatementError

from tests.support.database import BOTH, fresh_site, open_site
from tests.support.postgres import own_postgres
from worker.db.schema import engine as engine_module
from worker.db.schema import postgresql
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate
from worker.db.schema.revision import check_revision
from worker.db.schema.study import Study
from worker.errors import DatabaseUnavailable, SettingsError, UnsupportedDatabase

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def messages(error: BaseException) -> str:
    """Everything a traceback would print of an error and its causes."""
    found = []
    current: BaseException | None = error
    while current is not None:
        found.append(f"{current!r} {current}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(found)


def connect(url: str) -> None:
    engine = make_engine(url)
    try:
        with engine.connect():
            pass
    finally:
        engine.dispose()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_means_psycopg(scheme):
    assert make_engine(f"{scheme}://u:p@h/d").dialect.driver == "psycopg"


@pytest.mark.parametrize("url", ["", "nonsense", "postgresql://user:SECRET@host:port/name"])
def test_a_url_that_is_none_is_refused_without_being_quoted(url):
    with pytest.raises(SettingsError, match="AUSCULT_DATABASE_URL") as caught:
        make_engine(url)
    assert "SECRET" not in messages(caught.value)


@pytest.mark.parametrize("url", ["mysql://user:SECRET@host/name", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_cannot_serve_is_refused(url):
    with pytest.raises(UnsupportedDatabase) as caught:
        make_engine(url)
    assert "SECRET" not in messages(caught.value)


def test_an_old_postgresql_is_refused(postgres_url, monkeypatch):
    monkeypatch.setattr(postgresql, "POSTGRES_MINIMUM", 99)
    with pytest.raises(UnsupportedDatabase, match="is too old: Auscult needs PostgreSQL 99"):
        connect(postgres_url)


def test_an_old_sqlite_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "SQLITE_MINIMUM", (99, 0, 0))
    with pytest.raises(UnsupportedDatabase, match=r"is too old: Auscult needs SQLite 99\.0"):
        make_engine(f"sqlite:///{tmp_path / 'a.db'}")


def test_a_postgresql_that_is_not_there_is_named_without_its_password():
    with pytest.raises(DatabaseUnavailable) as caught:
        connect("postgresql://USER:SECRET@127.0.0.1:1/records")
    assert str(caught.value) == (
        "the PostgreSQL database records at 127.0.0.1:1 does not answer; check that it runs and that "
        "AUSCULT_DATABASE_URL is right"
    )
    assert "SECRET" not in messages(caught.value)
    assert "USER" not in str(caught.value)


def test_a_database_that_does_not_exist_is_said_to_be_missing(postgres_url):
    with pytest.raises(DatabaseUnavailable, match="does not exist; create it"):
        connect(postgres_url.replace("/auscult_", "/missing_"))


def test_an_unknown_user_is_said_to_be_refused(postgres_url):
    with pytest.raises(DatabaseUnavailable, match="refuses the user or the password") as caught:
        connect(postgres_url.replace("postgres@", "NOBODY:SECRET@"))
    assert "SECRET" not in messages(caught.value)
    assert "NOBODY" not in str(caught.value)


def test_an_sqlite_file_where_none_can_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match=r"SQLite database .*file/a\.db cannot be opened"):
        connect(f"sqlite:///{tmp_path / 'file' / 'a.db'}")


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "a.db").write_text("not a database at all, but long enough to have a header " * 20)
    with pytest.raises(DatabaseUnavailable, match="is not an SQLite database"):
        connect(f"sqlite:///{tmp_path / 'a.db'}")


def test_an_sqlite_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "a.db"
    engine = make_engine(f"sqlite:///{path}")
    assert not path.parent.exists(), "nothing is made before the first connection"
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["a.db", "a.db-shm", "a.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    engine.dispose()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_name_is_refused_by_its_encoding(postgres_server, encoding):
    url = postgres_server.create_database()
    name = f"{make_url(url).database}_{encoding.lower()}"
    engine = make_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    engine.dispose()
    other = make_url(url).set(database=name).render_as_string(hide_password=False)
    refused = make_engine(other)
    try:
        with pytest.raises(UnsupportedDatabase, match=f"has the encoding {encoding}.*UTF8"):
            migrate(refused)
        with pytest.raises(UnsupportedDatabase, match=f"has the encoding {encoding}"):
            check_revision(refused)
    finally:
        refused.dispose()
        postgres_server.drop_database(other)
        postgres_server.drop_database(url)


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_names_are_written_whatever_encoding_the_environment_asks_for(site, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with open_site(site.url) as other:
        other.receive(patient_name="王^小明")
        assert other.value("SELECT patient_name FROM study") == "王^小明"


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["SET TRANSACTION READ ONLY", "UPDATE study SET priority = 1"], "may not be written now"),
        (["SET LOCAL idle_in_transaction_session_timeout = 20"], "was idle for too long"),
        (["SELECT pg_terminate_backend(pg_backend_pid())"], "does not answer"),
        (["DO $$ BEGIN RAISE SQLSTATE '53100'; END $$"], "out of resources"),
        (["DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$"], "does not answer"),
        (["DO $$ BEGIN RAISE SQLSTATE '58030'; END $$"], "error of its own or of its disk"),
        (["DO $$ BEGIN RAISE SQLSTATE 'XX001'; END $$"], "error of its own or of its disk"),
    ],
    ids=["read-only", "suspended", "terminated", "53", "57", "58", "XX"],
)
def test_what_the_server_and_no_statement_is_to_blame_for_counts_as_unavailable(site, statements, reason):
    def run() -> None:
        with site.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            driver = connection.connection.driver_connection
            # A session that the server ends says so on its socket.
            select_readable([driver.fileno()], [], [], 5)
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match=reason):
        run()


def test_values_never_stand_in_the_text_of_an_error(site):
    with pytest.raises((ProgrammingError, OperationalError)) as caught, site.engine.begin() as connection:
        connection.execute(text("SELECT no_such_column FROM study WHERE patient_name = :name"), {"name": "MARKED^NAME"})
    assert "MARKED" not in messages(caught.value)
    with pytest.raises(StatementError) as naive, site.sessions.begin() as session:
        session.execute(select(Study).where(Study.first_rx_at > datetime(1901, 2, 3)))  # noqa: DTZ001 - refused
    assert "1901" not in messages(naive.value)


def test_a_refused_row_is_not_quoted(site):
    """PostgreSQL's own text ends with `DETAIL: Failing row contains (1, 1.2.3, ..., MARKED^NAME, ...)`."""
    site.receive(patient_name="MARKED^NAME", patient_id="MARKED")
    with pytest.raises(IntegrityError) as caught:
        site.change("UPDATE study SET state = 'NONSENSE'")
    assert "ck_study_state" in str(caught.value)
    assert "MARKED" not in messages(caught.value)


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_value_postgresql_cannot_read_is_not_quoted(site):
    with pytest.raises(DataError) as caught, site.engine.begin() as connection:
        connection.execute(text("SELECT CAST(:value AS DATE)"), {"value": "MARKED^NAME"})
    assert "MARKED" not in messages(caught.value)


def test_an_engine_outlives_a_restart_of_postgresql():
    with own_postgres() as server:
        engine = make_engine(server.create_database())
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        server.kill()
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            engine.connect()
        server.start()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        with engine.connect() as connection:
            server.kill()
            with pytest.raises(DatabaseUnavailable, match="does not answer"):
                connection.execute(text("SELECT 1"))
        engine.dispose()


def test_a_full_disk_of_sqlite_is_said_in_words(tmp_path):
    engine = make_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
        connection.execute(text("PRAGMA max_page_count = 4"))
        with pytest.raises(DatabaseUnavailable, match="its disk is full"):
            connection.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))
    engine.dispose()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_sqlite_held_by_another_program_is_said_to_be_locked(site, monkeypatch):
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_MS", 50)
    path = Path(site.engine.url.database)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    impatient = make_engine(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnavailable, match="is locked by another process"), impatient.begin():
        pass
    other.close()
    impatient.dispose()
