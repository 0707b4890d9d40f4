"""The revision of a database's schema, and whether it is that of this release.

Every process asks at its start, so nothing here imports Alembic: the revisions of this release are the numbers at the
beginning of the file names under migrations/versions, and Alembic keeps that of a database in a table of one row.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from worker.addresses import describe
from worker.errors import SchemaTooNew, SchemaTooOld

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_TABLE = "alembic_version"
_HAS_TABLE = {
    "sqlite": f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{_TABLE}'",  # noqa: S608 - a constant
    "postgresql": f"SELECT to_regclass('{_TABLE}')::text",
}


def check_revision(engine: Engine) -> None:
    """Raise `SchemaTooOld` or `SchemaTooNew` unless the schema is that of this release."""
    with engine.connect().execution_options(sqlite_begin="BEGIN") as connection:
        current = current_revision(connection)
    newest = known_revisions()[-1]
    if current == newest:
        return
    refuse_newer(engine, current)
    has = f"has revision {current}" if current else "holds no schema yet"
    msg = f"{describe(engine.url)} {has}, this release needs {newest}: run 'auscult migrate'"
    raise SchemaTooOld(msg)


def current_revision(connection: Connection) -> str | None:
    """The revision of a database; None where it holds no schema."""
    # Not by SQLAlchemy's inspection, which is most of the work of a short command.
    if not connection.exec_driver_sql(_HAS_TABLE[connection.dialect.name]).scalar():
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {_TABLE}").scalar_one_or_none()  # noqa: S608 - a constant
    return None if found is None else str(found)


def refuse_newer(engine: Engine, current: str | None) -> None:
    """Raise `SchemaTooNew` where a later release has migrated the database."""
    known = known_revisions()
    if current is None or current in known:
        return
    msg = (
        f"{describe(engine.url)} has revision {current}, this release knows {known[-1]} as the newest: "
        "upgrade Auscult, or restore a backup made before"
    )
    raise SchemaTooNew(msg)


def known_revisions() -> list[str]:
    """The revisions of this release, the newest last."""
    return sorted(path.name.partition("_")[0] for path in scripts_folder().glob("versions/[0-9]*_*.py"))


def scripts_folder() -> Path:
    """The folder of the migrations: in the installed package, else in the checkout."""
    installed = Path(str(files("worker"))) / "_migrations"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[3] / "migrations"
