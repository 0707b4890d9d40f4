"""The composition root: settings become engines, model rows and loops here (a worker's own parts: worker.seat).

Neither Celery nor TensorFlow nor an image decoder is imported from here, so the listener stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.bundle import Bundle, builtin_folder, find_bundle
from worker.db.engine import make_engine, read_session_factory, session_factory
from worker.db.migrate import check_revision, migrate
from worker.db.models import ModelFacts, activate, upsert_model
from worker.dispatch import Dispatcher, DispatchOptions
from worker.errors import SchemaTooOld, SettingsError
from worker.hints import HintPublisher
from worker.registrar import StudyClock

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

    from worker.settings import Settings

#: A worker is silent after this many missed heartbeats.
MISSED_HEARTBEATS = 4


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
    """Make the data folder, readable by its owner alone."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the data folder {settings.home} cannot be made ({error.strerror}): choose another by AUSCULT_HOME"
        raise SettingsError(msg) from error


def connect(settings: Settings) -> Database:
    """An engine and its session factory; nothing is opened yet."""
    make_home(settings)
    engine = make_engine(settings.database)
    return Database(engine, session_factory(engine), read_session_factory(engine))


def prepare_database(settings: Settings, database: Database) -> None:
    """Check the schema; the embedded SQLite is migrated on the way, PostgreSQL only by ``auscult migrate``."""
    try:
        check_revision(database.engine)
    except SchemaTooOld:
        if not settings.is_embedded:
            raise
        migrate(database.engine)


def open_database(settings: Settings) -> Database:
    """Connect and check the schema; raises the errors of worker.errors."""
    database = connect(settings)
    prepare_database(settings, database)
    return database


def active_bundle(settings: Settings, ref: str | None = None) -> Bundle:
    """The bundle ``ref``, by default the active one; raises model.errors.BundleError."""
    return find_bundle(ref or settings.model, bundle_folders(settings))


def bundle_folders(settings: Settings) -> tuple[Path, ...]:
    """Where bundles are looked for: the site's own folder first, then those of the package."""
    return (*settings.bundle_folders, builtin_folder())


def record_model(sessions: sessionmaker[Session], bundle: Bundle, *, make_active: bool) -> int:
    """The row of a bundle, made when it is new; raises ModelMismatch when its name was taken by other contents."""
    with sessions.begin() as session:
        row = upsert_model(session, _facts(bundle))
        if make_active:
            activate(session, row.id)
        return row.id


def _facts(bundle: Bundle) -> ModelFacts:
    youngest, oldest = bundle.age_years
    return ModelFacts(
        name=bundle.name,
        version=bundle.version,
        weights_sha256=bundle.weights_sha256,
        preprocess_version=bundle.preprocess_version,
        digest=bundle.digest,
        threshold=bundle.threshold,
        min_age_years=youngest,
        max_age_years=oldest,
    )


def study_clock(settings: Settings) -> StudyClock:
    """Quiet time and longest wait in milliseconds."""
    return StudyClock(round(settings.quiet_s * 1000), round(settings.max_wait_s * 1000))


def silent_after_ms(settings: Settings) -> int:
    """A worker whose last heartbeat is older than this is not counted as alive."""
    return round(settings.heartbeat_s * MISSED_HEARTBEATS * 1000)


def make_dispatcher(settings: Settings, sessions: sessionmaker[Session]) -> Dispatcher:
    """A dispatcher on this database and broker."""
    options = DispatchOptions(
        tick_s=settings.tick,
        grace_ms=round(settings.hint_grace_s * 1000),
        grace_max_ms=round(settings.hint_grace_max_s * 1000),
        max_attempts=settings.max_attempts,
        silent_after_ms=silent_after_ms(settings),
    )
    return Dispatcher(sessions, HintPublisher(settings.broker), options)
