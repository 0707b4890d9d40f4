"""The bundles known to the database, and which of them is active, shadow or retired: SQL is the truth of that.

A name and version stands for one content for ever. Each change of a state is a row of `model_event` with who, why and
when, written in the transaction that makes the change.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, literal, select, update

from worker.db.schema import Model, ModelEvent
from worker.db.sql import fitted, insert_unless_there
from worker.db.states import ModelChange, ModelState
from worker.db.types import now_utc
from worker.errors import ModelMismatch, NoActiveModel, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What makes a bundle the one it is."""

    name: str
    version: str
    weights_sha256: str
    preprocess_version: int
    #: Of calibration and threshold.
    digest: str
    threshold: float
    min_age_years: int
    max_age_years: int


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants a change, and why."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a model stands, since when, and who wanted it so; nobody as long as it is merely known."""

    label: str
    state: ModelState
    since: datetime
    who: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class InUse:
    """The models that score a new image."""

    active_id: int
    shadow_id: int | None


def upsert_model(session: Session, facts: ModelFacts) -> Model:
    """Make a bundle known; raises `ModelMismatch` when its name and version are taken by other contents."""
    values = asdict(facts)
    named = select(Model).where(Model.name == facts.name, Model.version == facts.version)
    row = session.execute(named).scalar_one_or_none()
    if row is None:
        new = values | {"state": ModelState.AVAILABLE, "created_at": now_utc()}
        insert_unless_there(session, Model, [new], "name", "version")
        row = session.execute(named).scalar_one()
    different = [name for name, value in values.items() if getattr(row, name) != value]
    if different:
        msg = (
            f"the bundle {facts.name}-{facts.version} differs from the one the database knows by that name "
            f"({', '.join(different)}): give the new bundle another version"
        )
        raise ModelMismatch(msg)
    return row


def label_of(model: Model) -> str:
    """Name a model as bundles are named."""
    return f"{model.name}-{model.version}"


def model_in(session: Session, state: ModelState) -> Model | None:
    """The model in a state that one at most can be in: ACTIVE or SHADOW."""
    return session.execute(select(Model).where(Model.state == state)).scalar_one_or_none()


def in_use(session: Session) -> InUse:
    """The models to score a new image with, held until the caller's transaction ends.

    From the commit of an activation on no image is registered with the model before it: an activation waits for the
    registrations under way (FOR SHARE), and those that wait for an activation look again.
    """
    held = select(Model.id, Model.state).where(Model.state.in_((ModelState.ACTIVE, ModelState.SHADOW)))
    for _ in range(_ATTEMPTS):
        rows = session.execute(held.with_for_update(read=True)).all()
        ids = {state: model_id for model_id, state in rows}
        if ModelState.ACTIVE in ids:
            return InUse(ids[ModelState.ACTIVE], ids.get(ModelState.SHADOW))
    raise NoActiveModel


def lock_models(session: Session) -> None:
    """Let one change of states happen after the other; work that merely refers to a model goes on meanwhile."""
    session.execute(select(Model.id).order_by(Model.id).with_for_update(key_share=True)).all()


def activate(session: Session, model_id: int, order: Order) -> bool:
    """Let one model score new images from now on, and no other; False when it does already."""
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
    """Activate a model unless one is active: a start never changes what somebody decided."""
    lock_models(session)
    if model_in(session, ModelState.ACTIVE) is None:
        activate(session, model_id, order)


def retire(session: Session, model_id: int, order: Order) -> bool:
    """Let a model be used for nothing new; False when it is retired already, `UsageError` while it is in use."""
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
    """Take a retirement back; False when the model is not retired."""
    model = locked_model(session, model_id)
    if model.state is not ModelState.RETIRED:
        return False
    change_state(session, model, ModelState.AVAILABLE, ModelChange.REINSTATED, order)
    return True


def check_usable(session: Session, model_id: int) -> None:
    """Raise `UsageError` for a retired model; one that is not retired stays so until the transaction ends."""
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
    """The model's row as it is now that no other change of states can come between."""
    lock_models(session)
    statement = select(Model).where(Model.id == model_id)
    return session.execute(statement, execution_options={"populate_existing": True}).scalar_one()


def change_state(session: Session, model: Model, state: ModelState, event: ModelChange, order: Order) -> None:
    """Write a model's new state and the event; at once, since one index lets two models change places only in order."""
    session.execute(update(Model).where(Model.id == model.id).values(state=state))
    row = fitted(ModelEvent, {"who": order.who, "why": order.why})
    session.execute(insert(ModelEvent).values(**row, model_id=model.id, event=event, at=now_utc()))


def standings(session: Session) -> list[Standing]:
    """Where every known model stands, by its last event."""
    last = select(func.max(ModelEvent.id).label("id")).group_by(ModelEvent.model_id).subquery()
    rows = session.execute(
        select(
            Model.name + literal("-") + Model.version,
            Model.state,
            func.coalesce(ModelEvent.at, Model.created_at),
            ModelEvent.who,
            ModelEvent.why,
        )
        .select_from(Model)
        .outerjoin(ModelEvent, (ModelEvent.model_id == Model.id) & ModelEvent.id.in_(select(last.c.id)))
        .order_by(Model.id)
    ).all()
    return [Standing(*row) for row in rows]
