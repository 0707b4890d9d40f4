"""The models known to the database by their bundles, and which is active, shadow or retired; SQL decides that.

A name and version stands for one content for ever. Each change of a state is a row of `model_event` with who, why and
when, written in the transaction of the change.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, literal, select, update

from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.schema.sql import fitted, insert_unless_there, table_of
from worker.db.schema.states import SUSPENSION_EVENTS, ModelChange, ModelState
from worker.db.schema.study import Model, ModelEvent, Suspension
from worker.db.schema.types import now_utc
from worker.errors import ModelMismatch, NoActiveModel, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

_ATTEMPTS = 5
#: How the audit trail calls the events that it names; any other is MODEL_CHANGED.
_ACTS = {
    ModelChange.ACTIVATED: Act.MODEL_ACTIVATED,
    ModelChange.SUSPENDED: Act.MODEL_SUSPENDED,
    **dict.fromkeys((ModelChange.RELEASED, ModelChange.DISCARDED, ModelChange.REQUEUED), Act.MODEL_SUSPENSION_ENDED),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What identifies a bundle: two with the same facts are the same model."""

    name: str
    version: str
    weights_sha256: str
    #: SHA-256 of the file that LiteRT runs.
    litert_sha256: str
    preprocess_version: int
    #: SHA-256 of calibration and threshold.
    digest: str
    threshold: float
    min_age_years: int
    max_age_years: int


@dataclass(frozen=True, slots=True)
class Order:
    """Who ordered a change, and why."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a model, since when, and by whose order; `who` and `why` are None for one that was never changed."""

    label: str
    state: ModelState
    since: datetime
    who: str | None
    why: str | None
    suspended: Suspended | None = None


@dataclass(frozen=True, slots=True)
class Suspended:
    """A suspension that has not ended: when it began, since when results are in doubt, who ordered it and why."""

    at: datetime
    since: datetime
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class InUse:
    """The models that score a new image."""

    active_id: int
    shadow_id: int | None


def upsert_model(session: Session, facts: ModelFacts) -> Model:
    """Add a bundle unless it is known; raises `ModelMismatch` when its name and version stand for other contents."""
    values = asdict(facts)
    named = select(Model).where(Model.name == facts.name, Model.version == facts.version)
    row = session.execute(named).scalar_one_or_none()
    if row is None:
        new = values | {"state": ModelState.AVAILABLE, "created_at": now_utc()}
        insert_unless_there(session, Model, [new], "name", "version")
        row = session.execute(named).scalar_one()
    different = [name for name, value in values.items() if getattr(row, name) not in (value, None)]
    if different:
        msg = (
            f"the bundle {facts.name}-{facts.version} differs from the one the database knows by that name "
            f"({', '.join(different)}): give the new bundle another version"
        )
        raise ModelMismatch(msg)
    # A row that is older than the column: the first bundle that is opened stands for its name.
    row.litert_sha256 = facts.litert_sha256
    return row


def label_of(model: Model) -> str:
    """The `name-version` of a model."""
    return f"{model.name}-{model.version}"


def model_by_id(session: Session, model_id: int) -> Model:
    """A model by the number of its row."""
    return session.get_one(Model, model_id)


def id_of(session: Session, label: str) -> int | None:
    """The id of a model by its `name-version`; None for an unknown one."""
    named = select(Model.id).where(Model.name + literal("-") + Model.version == label)
    return session.execute(named).scalar_one_or_none()


def model_in(session: Session, state: ModelState) -> Model | None:
    """The model that is ACTIVE or SHADOW (one at most), None where there is none."""
    return session.execute(select(Model).where(Model.state == state)).scalar_one_or_none()


def in_use(session: Session) -> InUse:
    """The models that score a new image, held until the caller's transaction ends; raises `NoActiveModel`.

    After the commit of an activation no image is registered with the previous model: an activation waits for the
    registrations under way (FOR SHARE), and those that waited for an activation read the states again.
    """
    for _ in range(_ATTEMPTS):
        ids = hold_models(session)
        if ModelState.ACTIVE in ids:
            return InUse(ids[ModelState.ACTIVE], ids.get(ModelState.SHADOW))
    raise NoActiveModel


# Built once: each film executes it.
_HOLD_MODELS = (
    select(table_of(Model).c.id, table_of(Model).c.state).order_by(table_of(Model).c.id).with_for_update(read=True)
)


def hold_models(session: Session) -> dict[ModelState, int]:
    """Block changes of models until the caller's transaction ends; returns the ids of the active and the shadow model.

    Read what depends on these states after this. Lock studies before, never after.
    """
    # All of them, in the order in which a change locks them: to hold some and wait for others would end in a deadlock.
    rows = session.execute(_HOLD_MODELS).all()
    return {state: model_id for model_id, state in rows if state in (ModelState.ACTIVE, ModelState.SHADOW)}


def lock_models(session: Session) -> None:
    """Make changes of models wait for each other; the caller locks no study."""
    session.execute(select(Model.id).order_by(Model.id).with_for_update(key_share=True)).all()


def activate(session: Session, model_id: int, order: Order) -> bool:
    """Make a model the active one; False when it is already, `UsageError` for a shadow or retired model."""
    model = locked_model(session, model_id)
    if model.state is ModelState.ACTIVE:
        return False
    if model.state is not ModelState.AVAILABLE:
        msg = f"{label_of(model)} is {model.state.lower()}: {_WAY_BACK[model.state]} first"
        raise UsageError(msg)
    before = model_in(session, ModelState.ACTIVE)
    if before is not None:
        change_state(session, before, ModelState.AVAILABLE, ModelChange.DEACTIVATED, order)
    change_state(session, model, ModelState.ACTIVE, ModelChange.ACTIVATED, order)
    return True


def activate_first(session: Session, model_id: int, order: Order) -> None:
    """Activate a model unless one is active: a start never changes what a person decided."""
    lock_models(session)
    if model_in(session, ModelState.ACTIVE) is None:
        activate(session, model_id, order)


def retire(session: Session, model_id: int, order: Order) -> bool:
    """Retire a model, so that nothing new uses it; False when it is already, `UsageError` while it is in use."""
    model = locked_model(session, model_id)
    if model.state is ModelState.RETIRED:
        return False
    if model.state is not ModelState.AVAILABLE:
        first = "activate another model" if model.state is ModelState.ACTIVE else _WAY_BACK[model.state]
        msg = f"{label_of(model)} is {model.state.lower()} and cannot be retired: {first} first"
        raise UsageError(msg)
    change_state(session, model, ModelState.RETIRED, ModelChange.RETIRED, order)
    return True


def reinstate(session: Session, model_id: int, order: Order) -> bool:
    """Undo a retirement; False when the model is not retired."""
    model = locked_model(session, model_id)
    if model.state is not ModelState.RETIRED:
        return False
    change_state(session, model, ModelState.AVAILABLE, ModelChange.REINSTATED, order)
    return True


def check_usable(session: Session, model_id: int) -> None:
    """Raise `UsageError` for a retired model; another one cannot be retired until the transaction ends."""
    held = select(Model).where(Model.id == model_id).with_for_update(read=True)
    model = session.execute(held, execution_options={"populate_existing": True}).scalar_one()
    if model.state is ModelState.RETIRED:
        msg = f"{label_of(model)} is retired: {_WAY_BACK[model.state]} first"
        raise UsageError(msg)


_WAY_BACK = {
    ModelState.SHADOW: "end its shadow with 'auscult model shadow --off'",
    ModelState.RETIRED: "take that back with 'auscult model retire --off'",
}


def locked_model(session: Session, model_id: int) -> Model:
    """The row of a model, read under the lock of all changes of models."""
    lock_models(session)
    statement = select(Model).where(Model.id == model_id)
    return session.execute(statement, execution_options={"populate_existing": True}).scalar_one()


def change_state(session: Session, model: Model, state: ModelState, event: ModelChange, order: Order) -> None:
    """Write a model's new state and the event.

    The state is written at once: an index allows one active model, so two models change places in two steps.
    """
    session.execute(update(Model).where(Model.id == model.id).values(state=state))
    add_event(session, model.id, event, order)


def add_event(session: Session, model_id: int, event: ModelChange, order: Order, detail: str | None = None) -> None:
    """Add an event of a model, and an audit event."""
    row = fitted(ModelEvent, {"who": order.who, "why": order.why})
    session.execute(insert(ModelEvent).values(**row, model_id=model_id, event=event, at=now_utc(), detail=detail))
    model = session.get_one(Model, model_id)
    told = {"model": label_of(model), "event": event.value}
    record(session, _ACTS.get(event, Act.MODEL_CHANGED), Actor.user(order.who), detail=told)


def standings(session: Session) -> list[Standing]:
    """The state of each known model, by the last event that changed it, and whether it is suspended."""
    changes = ModelEvent.event.not_in(SUSPENSION_EVENTS)
    last = select(func.max(ModelEvent.id).label("id")).where(changes).group_by(ModelEvent.model_id).subquery()
    rows = session.execute(
        select(
            Model.name + literal("-") + Model.version,
            Model.state,
            func.coalesce(ModelEvent.at, Model.created_at),
            ModelEvent.who,
            ModelEvent.why,
            Suspension,
        )
        .select_from(Model)
        .outerjoin(ModelEvent, (ModelEvent.model_id == Model.id) & ModelEvent.id.in_(select(last.c.id)))
        .outerjoin(Suspension, (Suspension.model_id == Model.id) & Suspension.ended_at.is_(None))
        .order_by(Model.id)
    ).all()
    return [
        Standing(label, state, since, who, why, _suspended(suspension))
        for label, state, since, who, why, suspension in rows
    ]


def _suspended(row: Suspension | None) -> Suspended | None:
    return Suspended(row.at, row.since, row.who, row.why) if row else None
