"""Alembic's entry: runs on the connection, and inside the transaction, that worker.db.schema.migrate hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context

from worker.db.schema.study import Base
from worker.db.schema.views import VIEW_NAMES

if TYPE_CHECKING:
    from sqlalchemy import Connection


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Leave the views out of the comparison of models and database: they are whole texts, see views/."""
    return not (kind == "table" and name in VIEW_NAMES)


def run(connection: Connection) -> None:
    """Run the scripts; on SQLite a changed table is rebuilt (batch mode), which needs its foreign keys off."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        include_name=include_name,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
