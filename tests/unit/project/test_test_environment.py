"""What the tests themselves rest on: see conftest.py."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.support.database import open_site, scored
from tests.support.documents import ROOT
from tests.support.launcher import launched
from tests.support.long_files import long_files
from tests.support.reused import Reused
from tests.support.running import Site, command
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate
from worker.db.schema.study import Base


def test_no_setting_of_the_developer_reaches_a_test():
    assert {name for name in os.environ if name.startswith("AUSCULT_")} <= {"AUSCULT_TEST_DATA"}


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0), ("example.org", 80)])
def test_another_machine_is_out_of_reach(address):
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(PermissionError, match="may not reach"):
        client.connect(address)


def test_this_machine_is_in_reach():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_the_data_folder_is_empty_and_leaves_room_for_a_socket(auscult_home):
    assert not auscult_home.exists()
    assert len(str(auscult_home / "run" / "broker.sock")) < 100


@pytest.mark.parametrize(("in_ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_a_missing_program_is_a_skip_by_name_and_in_ci_a_failure(tmp_path, in_ci, outcome):
    test = "from __future__ import annotations\n\ndef test_with(tool):\n    tool('no-such-program')\n"
    (tmp_path / "test_missing.py").write_text(test.replace("tool('no", "assert tool('no"))
    (tmp_path / "conftest.py").write_text("from tests.conftest import tool  # noqa\n")
    env = {**os.environ, "CI": in_ci, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.replace("error", "failed") in done.stdout
    assert "the program no-such-program is not installed" in done.stdout


@pytest.mark.integration
def test_a_database_is_empty_and_of_the_kind_asked_for(database_url):
    import sqlalchemy as sa

    engine = sa.create_engine(database_url)
    assert sa.inspect(engine).get_table_names() == []
    assert engine.dialect.name in database_url
    engine.dispose()


@pytest.mark.integration
def test_the_broker_answers_and_is_empty(redis_url):
    import redis

    with redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://")) as client:
        assert client.dbsize() == 0


def test_the_files_that_are_begun_first_are_there():
    assert [path for path in long_files() if not (ROOT / path).is_file()] == []


@pytest.mark.integration
@pytest.mark.parametrize("arguments", [["--version"], ["nothing"], ["classify", "nothing.dcm"], ["echo", "nobody"]])
def test_a_command_that_is_forked_says_and_ends_as_one_that_is_started(arguments, tmp_path):
    environment = Site(tmp_path / "home").environment
    done = subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, check=False)
    # A module that is started says so where the command says its name.
    said = done.stderr.replace("python -m worker.cli", "auscult")
    assert launched(arguments, environment) == (done.returncode, done.stdout, said)


@pytest.mark.integration
def test_a_command_that_needs_another_environment_is_not_forked(tmp_path):
    environment = Site(tmp_path / "home").environment
    assert launched(["--version"], {**environment, "AUSCULT_LOG": "debug"}) is not None
    assert launched(["--version"], {**environment, "PYTHONPATH": str(tmp_path)}) is None


@pytest.fixture
def reused(postgres_server):
    """The databases of one template, as the tests of the session have them, for a test alone."""
    template = postgres_server.create_database()
    engine = make_engine(template)
    migrate(engine)
    engine.dispose()
    found = Reused(postgres_server, template)
    yield found
    for url in (template, *found.urls):
        postgres_server.drop_database(url)


def contents(url) -> dict[str, list[str]]:
    """All rows of all tables, and where the sequences stand."""
    engine = make_engine(url)
    with engine.connect() as connection:
        names = [*Base.metadata.tables, "alembic_version"]
        found = {name: sorted(map(str, connection.exec_driver_sql(f"SELECT * FROM {name}").all())) for name in names}
        found["sequences"] = list(map(str, connection.exec_driver_sql("SELECT * FROM pg_sequences ORDER BY 2").all()))
    engine.dispose()
    return found


@pytest.mark.integration
def test_a_database_that_a_test_has_used_is_as_new_for_the_next_one(reused):
    url = reused.take()
    before = contents(url)
    with open_site(url) as site:
        site.finish(site.receive().task_id, scored(0.9))
        site.change("DELETE FROM priority_rule")
        assert contents(url) != before
        # A connection that is left open, here with a transaction, is cut.
        with site.engine.connect() as left:
            left.exec_driver_sql("SELECT * FROM study")
            reused.give_back(url)
            left.invalidate()
    assert reused.take() == url
    assert contents(url) == before


@pytest.mark.integration
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE other (id integer)",
        "DROP VIEW worklist",
        "COMMENT ON TABLE study IS 'other'",
        "GRANT SELECT ON study TO PUBLIC",
        "ANALYZE study",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
    ],
)
def test_a_database_in_which_more_than_rows_was_changed_is_dropped(reused, statement):
    url = reused.take()
    with open_site(url) as site:
        site.receive()
        site.change(statement)
    reused.give_back(url)
    other = reused.take()
    assert other != url
