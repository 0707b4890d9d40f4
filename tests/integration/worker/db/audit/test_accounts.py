"""On PostgreSQL with two accounts Auscult's own can add audit events and read them, and nothing more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from tests.support.accounts import two_accounts
from tests.support.database import open_site
from worker.database import application_account, owner_engine
from worker.db.audit.codes import Act
from worker.db.audit.purge import AuditCutoffs, purge_audit
from worker.db.audit.record import Actor, record
from worker.db.schema.engine import make_engine, session_factory
from worker.db.schema.migrate import ROLES, migrate
from worker.db.schema.study import Base
from worker.errors import SettingsError
from worker.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def accounts(postgres_server):
    with two_accounts(postgres_server) as found:
        engine = make_engine(found.owner)
        migrate(engine, sa.make_url(found.application).username)
        engine.dispose()
        yield found


@pytest.fixture
def site(accounts):
    with open_site(accounts.application) as site:
        with site.sessions.begin() as session:
            record(session, Act.RERUN_ORDERED, Actor("ada"))
        yield site


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET who = 'eve'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "DROP TABLE audit_event CASCADE",
        "DROP VIEW audit",
        "DROP SCHEMA public CASCADE",
        "ALTER TABLE audit_event ADD COLUMN x integer",
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        "ALTER TABLE audit_event OWNER TO CURRENT_USER",
        "DROP TRIGGER audit_event_guard ON audit_event",
        "DROP FUNCTION audit_event_guard() CASCADE",
        "CREATE OR REPLACE FUNCTION audit_event_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TABLE mine (x integer)",
        "CREATE RULE quiet AS ON INSERT TO audit_event DO INSTEAD NOTHING",
        "SET session_replication_role = replica",
        "SELECT setval('audit_event_id_seq', 1)",
        "UPDATE alembic_version SET version_num = '0001'",
    ],
)
def test_the_account_that_auscult_runs_under_can_only_add_events(site, statement):
    before = site.rows("SELECT * FROM audit_event ORDER BY id")
    with pytest.raises(ProgrammingError) as caught:
        site.change(statement)
    assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege)
    assert site.rows("SELECT * FROM audit_event ORDER BY id") == before


def test_naming_the_purges_setting_does_not_help_that_account(site):
    with site.engine.connect() as connection:
        connection.execute(text("SELECT set_config('auscult.audit_purge_before', '2099-01-01', false)"))
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text("DELETE FROM audit_event"))
        connection.invalidate()


def test_everything_else_works_under_that_account(site):
    task = site.receive("1.2.3", patient_id="P").task_id
    site.claimed(task)
    assert site.entry("1.2.3")["patient_id"] == "P"
    with site.engine.connect() as connection:
        for table in Base.metadata.tables:
            connection.execute(text(f"SELECT count(*) FROM {table}"))
        for views in ROLES.values():
            for view in views:
                connection.execute(text(f"SELECT count(*) FROM {view}"))


def test_the_owner_purges_old_events_and_leaves_one(accounts, site):
    settings = load_settings(home="/nowhere", **accounts.settings)
    engine = owner_engine(settings)
    n = site.value("SELECT count(*) FROM audit_event")
    with session_factory(engine).begin() as session:
        assert purge_audit(session, AuditCutoffs.at(datetime.now(UTC) - timedelta(days=1)), Actor("ada")) == 0
        assert purge_audit(session, AuditCutoffs.at(datetime.now(UTC) + timedelta(minutes=1)), Actor("ada")) == n + 1
    (left,) = site.rows("SELECT act, detail FROM audit_event")
    assert left["act"] == "AUDIT_PURGED"
    with pytest.raises(ProgrammingError), engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_event"))
    engine.dispose()
    with pytest.raises(ProgrammingError), site.sessions.begin() as session:
        purge_audit(session, AuditCutoffs.at(datetime.now(UTC)), Actor("eve"))


def test_an_account_that_owns_the_tables_is_no_application_account(accounts):
    engine = make_engine(accounts.owner)
    with pytest.raises(SettingsError, match="nothing would protect the audit trail"):
        migrate(engine, sa.make_url(accounts.owner).username)
    with pytest.raises(SettingsError, match="does not know"):
        migrate(engine, "nobody_of_that_name")
    engine.dispose()


def test_the_owners_url_names_the_same_database(accounts):
    assert application_account(load_settings(home="/nowhere", database_url=accounts.application)) is None
    other = sa.make_url(accounts.owner).set(database="other").render_as_string(hide_password=False)
    settings = load_settings(home="/nowhere", database_url=accounts.application, owner_database_url=other)
    with pytest.raises(SettingsError, match="another database"):
        owner_engine(settings)
