"""The bundles that the settings name, and which model is active: a fact in SQL.

The setting AUSCULT_MODEL names the model that the very first start activates, and nothing more. Neither TensorFlow nor a
decoder is imported from here, so the listener stays small.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from model.errors import BundleError
from model.serving.bundle import Bundle, builtin_folder, find_bundle
from model.serving.transfer import import_bundle
from worker.database import has_database, readable_database
from worker.db.models.bundles import ModelFacts, Order, activate_first, label_of, model_in, upsert_model
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import ModelState
from worker.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from worker.database import Database
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Who activated the model that the first start found in the settings.
FIRST_START = Order("auscult", "first start: no model was active")


def bundle_folders(settings: Settings) -> tuple[Path, ...]:
    """Where bundles are searched: the site's own folder first, then the shared one, then those of the package."""
    return (*settings.bundle_folders, builtin_folder())


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


def record_model(sessions: sessionmaker[Session], bundle: Bundle) -> int:
    """The id of a bundle's row, made when it is new; raises ModelMismatch when its name was taken by other contents."""
    youngest, oldest = bundle.age_years
    facts = ModelFacts(
        name=bundle.name,
        version=bundle.version,
        weights_sha256=bundle.weights_sha256,
        litert_sha256=bundle.litert_sha256,
        preprocess_version=bundle.preprocess_version,
        digest=bundle.digest,
        threshold=bundle.threshold,
        min_age_years=youngest,
        max_age_years=oldest,
    )
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


def default_model(settings: Settings) -> str:
    """Name the active model, or before any start the one that the first would activate."""
    with readable_database(settings) as database:
        active = active_model(settings, database) if database else None
    return active or settings.model


def active_bundle(settings: Settings, ref: str | None = None) -> Bundle:
    """The bundle ``ref``, by default that of the active model; raises model.errors.BundleError."""
    return bundle_of(settings, ref or default_model(settings))


def ensure_active_model(settings: Settings, database: Database) -> str:
    """Name the active model; the very first start activates the one that the settings name, with an event in SQL."""
    label = active_model(settings, database)
    if label is not None:
        if "model" not in settings.model_fields_set:  # else a folder may be named, and active_model has warned
            _tell_newer(label, settings.model)
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
    if not has_database(settings):
        bundle_of(settings, settings.model)


def check_active_bundle(settings: Settings, database: Database) -> str:
    """Name the model that new images are scored with; raises BundleError at the start of a worker that lacks its bundle."""
    model = active_model(settings, database) or settings.model
    bundle_of(settings, model)
    return model


def _tell_newer(active: str, default: str) -> None:
    """Log that this release starts new sites with a later version of the model that is active here."""
    name, _, version = default.rpartition("-")
    own_name, _, own_version = active.rpartition("-")
    # 2.1 is a site's own calibration of 2, and not older than it.
    if own_name == name and int(own_version.partition(".")[0]) < int(version.partition(".")[0]):
        logger.warning(
            "%s stays the active model; fresh sites start with %s: run 'auscult model shadow %s' to see how its "
            "answers differ here, then 'auscult model activate %s'",
            active,
            default,
            default,
            default,
            extra={"action": "newer_model"},
        )
