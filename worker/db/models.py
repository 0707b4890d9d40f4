"""The bundles known to the database: a name and version stands for one content for ever."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from worker.db.schema import Model
from worker.db.sql import insert_unless_there
from worker.db.states import ModelState
from worker.db.types import now_utc
from worker.errors import ModelMismatch

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


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


def activate(session: Session, model_id: int) -> None:
    """Let one model score new images from now on, and no other."""
    active = select(Model.id).where(Model.state == ModelState.ACTIVE)
    if session.execute(active).scalar_one_or_none() == model_id:
        return
    # The rows are locked in one order: of two that activate at once the later one wins.
    session.execute(select(Model.id).order_by(Model.id).with_for_update()).all()
    session.execute(
        update(Model).where(Model.state == ModelState.ACTIVE, Model.id != model_id).values(state=ModelState.AVAILABLE)
    )
    session.execute(update(Model).where(Model.id == model_id).values(state=ModelState.ACTIVE))


def active_model(session: Session) -> Model | None:
    """The model that scores new images, if there is one yet."""
    return session.execute(select(Model).where(Model.state == ModelState.ACTIVE)).scalar_one_or_none()
