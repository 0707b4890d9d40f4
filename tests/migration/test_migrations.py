"""The schema that the migrations make: one head, there and back again, equal to the tables of the code."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from tests.support.migrations import config, fill_0001, head
from worker.db.schema.migrate import Migrated, migrate
from worker.db.schema.revision import check_revision
from worker.db.schema.study import Base
from worker.db.schema.views import VIEW_NAMES

pytestmark = pytest.mark.integration


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


def test_the_tables_of_the_code_are_those_of_the_migrations(engine):
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


def test_the_checks_of_the_code_are_those_of_the_database(engine):
    """Alembic's comparison does not look at CHECK constraints."""
    migrate(engine)
    for table in Base.metadata.sorted_tables:
        modelled = sorted(str(c.name) for c in table.constraints if type(c).__name__ == "CheckConstraint")
        assert sorted(str(check["name"]) for check in inspect(engine).get_check_constraints(table.name)) == modelled


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
        *(
            f"INSERT INTO suspension VALUES (1, 1, '2026-01-05', '2026-01-01', 'ada', 'w', {end}, 1, {task}, NULL)"
            for end, task in (("'2026-01-06', NULL", "1"), ("'2026-01-06', 'SOLD'", "1"), ("NULL, NULL", "1"))
        ),
        "UPDATE image SET species = 'SMITH'",
        "UPDATE image SET derivation = 'SMITH JOHN'",
    ],
)
def test_what_can_never_be_true_is_refused_by_the_database(engine, statement):
    fill_0001(engine)
    migrate(engine)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text(statement))
