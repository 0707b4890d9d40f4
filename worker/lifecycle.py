"""What is done with models: which one is active, shadow or retired. Every change is one transaction with its event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from model.errors import BundleError
from worker.bootstrap import Database, bundle_of, readable_database, record_model, shared_bundle
from worker.db import models, shadow
from worker.db.engine import in_transaction
from worker.db.schema import Model
from worker.errors import UsageError
from worker.openable import ask_workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from worker.db.models import Order
    from worker.settings import Settings

    Change = Callable[[Session, int, Order], bool]

#: How a bundle stands that the database does not know.
UNKNOWN: dict[str, Any] = {"state": "AVAILABLE", "since": None, "who": None, "why": None}


def activate(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Let a bundle score new images from this commit on; a shadow ends with that. False when it is active already."""

    def change(session: Session, model_id: int, by: Order) -> bool:
        shadow.end_shadow(session, model_id, by)
        return models.activate(session, model_id, by)

    return _changed(database, record_model(database.sessions, shared_bundle(settings, ref)), order, change)


def check_can_activate(settings: Settings, database: Database, ref: str) -> None:
    """Raise what `activate` would raise, before anybody is asked: BundleError, or UsageError for a retired model."""
    bundle = bundle_of(settings, ref)
    with database.sessions.begin() as session:
        named = select(Model.id).where(Model.name == bundle.name, Model.version == bundle.version)
        model_id = session.execute(named).scalar_one_or_none()
        if model_id is not None:
            models.check_usable(session, model_id)


def retire(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Let a model be used for nothing new; its bundle need not be here any more. False when it is retired already."""
    return _changed(database, _known(settings, database, ref), order, models.retire)


def reinstate(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Take a retirement back; False when the model is not retired."""
    return _changed(database, _known(settings, database, ref), order, models.reinstate)


def start_shadow(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Let a bundle score beside the active one from this commit on; False when it does already."""
    return _changed(database, record_model(database.sessions, shared_bundle(settings, ref)), order, shadow.start_shadow)


def end_shadow(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """End a shadow; False when the model is none."""
    return _changed(database, _known(settings, database, ref), order, shadow.end_shadow)


def check_workers(settings: Settings, database: Database, ref: str) -> list[str]:
    """Raise UsageError when a live worker cannot open a bundle; the workers that did not answer, by their names."""
    unopened = ask_workers(settings, database, shared_bundle(settings, ref).label)
    for worker, why in unopened.items():
        if why is not None:
            msg = f"the worker {worker} cannot open {ref}, so every film it takes would fail: {why}"
            raise UsageError(msg)
    return list(unopened)


def standings(settings: Settings) -> dict[str, dict[str, Any]]:
    """How every model that the database knows stands, by its label; nothing where there is no database yet."""
    with readable_database(settings) as database:
        if database is None:
            return {}
        with database.reads() as session:
            found = models.standings(session)
    return {
        item.label: {"state": item.state.value, "since": item.since, "who": item.who, "why": item.why} for item in found
    }


def _changed(database: Database, model_id: int, order: Order, change: Change) -> bool:
    return in_transaction(database.sessions, lambda session: change(session, model_id, order))


def _known(settings: Settings, database: Database, ref: str) -> int:
    """The row of a model, made for a bundle that was never used; UsageError when there is neither."""
    with database.reads() as session:
        named = session.execute(select(Model)).scalars()
        ids = {models.label_of(row): row.id for row in named}
    if ref in ids:
        return ids[ref]
    try:
        return record_model(database.sessions, bundle_of(settings, ref))
    except BundleError as error:
        raise UsageError(str(error)) from error
