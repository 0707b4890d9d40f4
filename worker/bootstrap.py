"""The composition root: settings become engines, model rows and loops here (a worker's own parts: worker.seat).

Which model is active is a fact in SQL. The setting names the one that the very first start activates and no more.
Neither Celery nor TensorFlow nor an image decoder is imported from here, so the listener stays small.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from dicom_io.store import Store, prepare_root
from model.bundle import Bundle, builtin_folder, find_bundle
from model.errors import BundleError
from model.transfer import import_bundle
from worker.db import holdings
from worker.db.engine import in_transaction, make_engine, read_session_factory, session_factory
from worker.db.migrate import check_revision, migrate
from worker.db.models import ModelFacts, Order, activate_first, label_of, model_in, upsert_model
from worker.db.states import ModelState
from worker.dispatch import Dispatcher, DispatchOptions
from worker.errors import DatabaseUnavailable, SchemaTooNew, SchemaTooOld, SettingsError
from worker.hints import HintPublisher
from worker.registrar import StudyClock
from worker.runfiles import check_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Who activated the model that the first start found in the settings.
FIRST_START = Order("auscult", "first start: no model was active")
#: A worker is silent after this many missed heartbeats.
MISSED_HEARTBEATS = 4
#: Where a data folder notes which store it has used.
STORE_NOTE = "store.path"


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
        check_home(settings.home)
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


def open_store(settings: Settings, database: Database) -> Store:
    """The store for a process that files objects; it and the films' folder are made unless they were there before."""
    known = _is_store_known(settings, database)
    prepare_root(settings.films, known=known)
    store = store_of(settings, known=known)
    _note_store(settings)
    return store


def store_of(settings: Settings, *, known: bool) -> Store:
    """The store that the settings name."""
    return Store(settings.store, known=known, may_be_lost=settings.store_dir is None)


def _is_store_known(settings: Settings, database: Database) -> bool:
    """Whether the store is one that holds originals: where it is not to be found, it is away and not new."""
    with database.reads() as session:
        if not holdings.any_image(session):
            return False
    # A data folder of its own may join a database that others fill; a volume that was named is the one they share.
    return settings.store_dir is not None or not settings.database_url or _noted_store(settings) == settings.store


def _noted_store(settings: Settings) -> Path | None:
    try:
        return Path((settings.home / STORE_NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _note_store(settings: Settings) -> None:
    if _noted_store(settings) != settings.store:
        # A disk that is full takes the note at a later start.
        with suppress(OSError):
            (settings.home / STORE_NOTE).write_text(str(settings.store), encoding="utf-8")


def bundle_of(settings: Settings, ref: str) -> Bundle:
    """The bundle of that name-version or path; raises model.errors.BundleError."""
    return find_bundle(ref, bundle_folders(settings))


def shared_bundle(settings: Settings, ref: str) -> Bundle:
    """The bundle of that name-version or path, where every worker finds it: it is copied beside the store if need be.

    Raises model.errors.BundleError.
    """
    bundle = bundle_of(settings, ref)
    if bundle.path.parent in (settings.models, builtin_folder()):
        return bundle
    return import_bundle(bundle.path, settings.models)


def bundle_folders(settings: Settings) -> tuple[Path, ...]:
    """Where bundles are looked for: the site's own folder first, then the shared one, at last those of the package."""
    return (*settings.bundle_folders, builtin_folder())


def record_model(sessions: sessionmaker[Session], bundle: Bundle) -> int:
    """The row of a bundle, made when it is new; raises ModelMismatch when its name was taken by other contents."""
    facts = _facts(bundle)
    return in_transaction(sessions, lambda session: upsert_model(session, facts).id)


def active_model(settings: Settings, database: Database) -> str | None:
    """Name the active model; None before the first start. Warns when the settings name another one."""
    with database.reads() as session:
        row = model_in(session, ModelState.ACTIVE)
    if row is None:
        return None
    label = label_of(row)
    if "model" in settings.model_fields_set and settings.model != label:
        logger.warning(
            "AUSCULT_MODEL names %s, but %s is the active model and stays so: run 'auscult model activate %s' to change "
            "it, or take the setting away",
            settings.model,
            label,
            settings.model,
            extra={"action": "other_model"},
        )
    return label


def ensure_active_model(settings: Settings, database: Database) -> str:
    """Name the active model; the very first start activates the one that the settings name, with an event in SQL."""
    label = active_model(settings, database)
    if label is not None:
        return label
    try:
        bundle = shared_bundle(settings, settings.model)
    except BundleError as error:
        msg = f"no model is active yet, and the one AUSCULT_MODEL names cannot be used: {error}"
        raise SettingsError(msg) from error
    model_id = record_model(database.sessions, bundle)
    in_transaction(database.sessions, lambda session: activate_first(session, model_id, FIRST_START))
    return active_model(settings, database) or bundle.label


def check_first_start(settings: Settings) -> None:
    """Raise BundleError before anything is made, when the first start would not find the bundle that it activates."""
    if not _has_database(settings):
        bundle_of(settings, settings.model)


def check_active_bundle(settings: Settings, database: Database) -> None:
    """Raise BundleError when the bundle that new images are scored with is not here: a worker says so at its start."""
    bundle_of(settings, active_model(settings, database) or settings.model)


@contextmanager
def readable_database(settings: Settings) -> Iterator[Database | None]:
    """The database, for a command that can do without: None where there is none yet, or none that answers."""
    if not _has_database(settings):
        yield None
        return
    database = connect(settings)
    try:
        yield database if _answers(database) else None
    finally:
        database.dispose()


def _has_database(settings: Settings) -> bool:
    """Whether there may be something to ask: a server, or the file that the first start makes."""
    url = make_url(settings.database)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


def _answers(database: Database) -> bool:
    try:
        check_revision(database.engine)
    except (DatabaseUnavailable, SchemaTooOld, SchemaTooNew) as error:
        logger.warning("%s; going on without it", error, extra={"action": "away"})
        return False
    return True


def default_model(settings: Settings) -> str:
    """Name the active model, or before any start the one that the first would activate."""
    with readable_database(settings) as database:
        active = active_model(settings, database) if database else None
    return active or settings.model


def active_bundle(settings: Settings, ref: str | None = None) -> Bundle:
    """The bundle ``ref``, by default that of the active model; raises model.errors.BundleError."""
    return bundle_of(settings, ref or default_model(settings))


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


def make_dispatcher(
    settings: Settings, sessions: sessionmaker[Session], beat: Callable[[], None] | None = None
) -> Dispatcher:
    """A dispatcher on this database and broker; ``beat`` says in SQL that the listener of this process lives."""
    options = DispatchOptions(
        tick_s=settings.tick,
        grace_ms=round(settings.hint_grace_s * 1000),
        grace_max_ms=round(settings.hint_grace_max_s * 1000),
        max_attempts=settings.max_attempts,
        silent_after_ms=silent_after_ms(settings),
        lease_ms=round(settings.lease_s * 1000),
    )
    return Dispatcher(sessions, HintPublisher(settings.broker), options, beat)
