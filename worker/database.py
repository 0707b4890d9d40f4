"""The database that the settings name: connected, checked, and where it is the embedded SQLite migrated on the way."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from dicom_io.durable import make_folder
from worker.db.schema.engine import make_engine, read_session_factory, session_factory
from worker.db.schema.revision import check_revision
from worker.environment import login
from worker.errors import DatabaseUnavailable, SchemaTooNew, SchemaTooOld, SettingsError
from worker.runfiles import check_home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

    from worker.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Database:
    """The database's engine, and the factories of its sessions: those that may write and those that only read."""

    engine: Engine
    sessions: sessionmaker[Session]
    reads: sessionmaker[Session]

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def make_home(settings: Settings) -> None:
    """Make the data folder, readable by its owner alone; raises SettingsError where it cannot be made or is another user's."""
    try:
        if not settings.home.is_dir():
            make_folder(settings.home)
        check_home(settings.home)
    except OSError as error:
        msg = f"the data folder {settings.home} cannot be made ({error.strerror}): choose another by AUSCULT_HOME"
        raise SettingsError(msg) from error


def connect(settings: Settings) -> Database:
    """An engine and its session factories; no connection is opened yet."""
    make_home(settings)
    engine = make_engine(settings.database)
    return Database(engine, session_factory(engine), read_session_factory(engine))


def owner_engine(settings: Settings) -> Engine:
    """An engine for what the application's account may not do: the owner's where the settings name it, else the usual one.

    Raises SettingsError where the owner's URL names another database.
    """
    if not settings.owner_database_url:
        return make_engine(settings.database)
    owner, application = make_url(settings.owner_database_url), make_url(settings.database)
    if (owner.get_backend_name(), owner.database) != (application.get_backend_name(), application.database):
        msg = "AUSCULT_OWNER_DATABASE_URL names another database than AUSCULT_DATABASE_URL: only the account may differ"
        raise SettingsError(msg)
    return make_engine(settings.owner_database_url)


def application_account(settings: Settings) -> str | None:
    """The PostgreSQL account that Auscult's processes use, where another one owns the tables; else None."""
    return (make_url(settings.database).username or login()) if settings.owner_database_url else None


def prepare_database(settings: Settings, database: Database) -> None:
    """Check the schema; the embedded SQLite is migrated if need be, PostgreSQL only by ``auscult migrate``."""
    try:
        check_revision(database.engine)
    except SchemaTooOld:
        if not settings.is_embedded:
            raise
        from worker.db.schema.migrate import migrate  # Alembic, which a start needs once for each release

        migrate(database.engine)


def open_database(settings: Settings) -> Database:
    """Connect and check the schema; raises the errors of worker.errors."""
    database = connect(settings)
    prepare_database(settings, database)
    return database


@contextmanager
def readable_database(settings: Settings) -> Iterator[Database | None]:
    """The database, for a command that can do without one: None where it does not exist yet or does not answer."""
    if not has_database(settings):
        yield None
        return
    database = connect(settings)
    try:
        yield database if _answers(database) else None
    finally:
        database.dispose()


def has_database(settings: Settings) -> bool:
    """Whether a database may exist: a server, or the file that the first start makes."""
    url = make_url(settings.database)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


def _answers(database: Database) -> bool:
    try:
        check_revision(database.engine)
    except (DatabaseUnavailable, SchemaTooOld, SchemaTooNew) as error:
        logger.warning("%s; going on without it", error, extra={"action": "away"})
        return False
    return True
