"""Change which model is active, shadow, retired or suspended; every change is one transaction with its event."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from model.errors import BundleError
from worker.database import Database, readable_database
from worker.db.batches import suspensions, withholding
from worker.db.models import bundles
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import ModelState, SuspensionEnd
from worker.db.tasks import shadow
from worker.errors import UsageError
from worker.models.active import bundle_of, record_model, shared_bundle
from worker.models.openable import ask_workers
from worker.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.orm import Session

    from worker.db.batches.suspensions import Affected, Resumed
    from worker.db.models.bundles import Order
    from worker.settings import Settings

    Change = Callable[[Session, int, Order], bool]

#: The state of a bundle that the database does not know.
UNKNOWN: dict[str, Any] = {"state": "AVAILABLE", "since": None, "who": None, "why": None, "suspended": None}


def activate(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Let a bundle score new images from this commit on; a shadow ends with that. False when it is active already."""

    def change(session: Session, model_id: int, by: Order) -> bool:
        shadow.end_shadow(session, model_id, by)
        return bundles.activate(session, model_id, by)

    return _changed(database, record_model(database.sessions, shared_bundle(settings, ref)), order, change)


def check_can_activate(settings: Settings, database: Database, ref: str) -> None:
    """Raise what `activate` would raise, before the user is asked: BundleError, or UsageError for a retired model."""
    bundle = bundle_of(settings, ref)
    with database.sessions.begin() as session:
        model_id = bundles.id_of(session, bundle.label)
        if model_id is not None:
            bundles.check_usable(session, model_id)


def retire(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Let a model take no new work; its bundle need not be here any more. False when it is retired already."""
    return _changed(database, known_model(settings, database, ref), order, bundles.retire)


def reinstate(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Take a retirement back; False when the model is not retired."""
    return _changed(database, known_model(settings, database, ref), order, bundles.reinstate)


def start_shadow(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """Let a bundle score beside the active one from this commit on; False when it does already."""
    return _changed(database, record_model(database.sessions, shared_bundle(settings, ref)), order, shadow.start_shadow)


def end_shadow(settings: Settings, database: Database, ref: str, order: Order) -> bool:
    """End a shadow; False when the model is none."""
    return _changed(database, known_model(settings, database, ref), order, shadow.end_shadow)


def suspend(settings: Settings, database: Database, ref: str, order: Order, since: datetime | None) -> Affected | None:
    """Withhold a model's NORMAL from this commit on, then of the studies it answered; None when it is suspended already."""
    model_id = known_model(settings, database, ref)
    affected = in_transaction(database.sessions, lambda session: suspensions.suspend(session, model_id, order, since))
    in_transaction(database.sessions, withholding.withhold)
    _follow(database)
    return affected


def resume(settings: Settings, database: Database, ref: str, end: SuspensionEnd, order: Order) -> Resumed:
    """End a suspension, and answer again what follows from that; the caller works off the batch of a re-run."""
    model_id = known_model(settings, database, ref)
    if end is SuspensionEnd.REQUEUED:
        # The bundle must be in the shared folder before its tasks exist.
        with database.reads() as session:
            active = bundles.model_in(session, ModelState.ACTIVE)
        if active is not None:
            shared_bundle(settings, bundles.label_of(active))
    resumed = in_transaction(database.sessions, lambda session: suspensions.resume(session, model_id, end, order))
    _follow(database)
    return resumed


def _follow(database: Database) -> None:
    with database.reads() as session:
        total = suspensions.results_to_follow(session)
    with progress("studies answered again", total) as advance:
        while (left := in_transaction(database.sessions, withholding.follow)) is not None:
            advance(max(0, total - left))


def check_workers(settings: Settings, database: Database, ref: str) -> list[str]:
    """Raise UsageError when a live worker cannot open a bundle; the workers that did not answer, by their names."""
    unopened = ask_workers(settings, database, shared_bundle(settings, ref).label)
    for worker, why in unopened.items():
        if why is not None:
            msg = f"the worker {worker} cannot open {ref}, so every film it takes would fail: {why}"
            raise UsageError(msg)
    return list(unopened)


def standings(settings: Settings) -> dict[str, dict[str, Any]]:
    """The state of every model that the database knows, by its label; empty where there is no database yet."""
    with readable_database(settings) as database:
        if database is None:
            return {}
        with database.reads() as session:
            found = bundles.standings(session)
    return {
        item.label: {
            "state": item.state.value,
            "since": item.since,
            "who": item.who,
            "why": item.why,
            "suspended": asdict(item.suspended) if item.suspended else None,
        }
        for item in found
    }


def _changed(database: Database, model_id: int, order: Order, change: Change) -> bool:
    return in_transaction(database.sessions, lambda session: change(session, model_id, order))


def known_model(settings: Settings, database: Database, ref: str) -> int:
    """The id of a model's row, made for a bundle that was never used; UsageError when there is neither."""
    with database.reads() as session:
        model_id = bundles.id_of(session, ref)
    if model_id is not None:
        return model_id
    try:
        return record_model(database.sessions, bundle_of(settings, ref))
    except BundleError as error:
        raise UsageError(str(error)) from error
