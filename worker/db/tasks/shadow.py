"""The shadow: a second model that scores what the active one scores, without any effect on answers.

Its work is a batch that stays open and keeps the current results, as a re-run may: its tasks are in a lane of their own,
its results never count, and no study waits for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, case, func, insert, select, update

from model.labels import Label
from worker.db.models.bundles import Order, change_state, label_of, locked_model, model_in
from worker.db.schema.sql import fitted
from worker.db.schema.states import BatchKind, ModelChange, ModelState, TaskState
from worker.db.schema.study import Batch, Model, Task
from worker.db.schema.types import now_utc
from worker.db.schema.views import SHADOW_COMPARISON
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SELECTOR = '{"shadow":true}'


@dataclass(frozen=True, slots=True)
class ShadowComparison:
    """The results of a shadow beside those of a model that was active meanwhile, in films."""

    active: str
    shadow: str
    films: int
    #: Films that both models labelled; of the others, one model or both refused or failed.
    compared: int
    agree: int
    both_normal: int
    both_pneumonia: int
    only_active_pneumonia: int
    only_shadow_pneumonia: int
    only_active_answered: int
    only_shadow_answered: int
    #: Cohen's kappa; None without compared films, or where both models gave one label only.
    kappa: float | None
    #: Of probabilities, shadow minus active.
    mean_difference: float | None
    mean_absolute_difference: float | None

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return asdict(self)


def start_shadow(session: Session, model_id: int, order: Order) -> bool:
    """Make a model the shadow; False when it is already, `UsageError` for an active or retired model or a second shadow."""
    model = locked_model(session, model_id)
    if model.state is ModelState.SHADOW:
        return False
    if model.state is not ModelState.AVAILABLE:
        msg = f"{label_of(model)} is {model.state.lower()}: a shadow is another model than the active one, not retired"
        raise UsageError(msg)
    other = model_in(session, ModelState.SHADOW)
    if other is not None:
        msg = f"{label_of(other)} is the shadow: end it with 'auscult model shadow {label_of(other)} --off' first"
        raise UsageError(msg)
    change_state(session, model, ModelState.SHADOW, ModelChange.SHADOWED, order)
    values = fitted(Batch, {"who": order.who, "why": order.why}) | {
        "selector": SELECTOR,
        "selector_sha256": hashlib.sha256(SELECTOR.encode()).hexdigest(),
        "model_id": model_id,
        "keep_current": True,
        "created_at": now_utc(),
        "n_tasks": 0,
        "kind": BatchKind.SHADOW,
    }
    session.execute(insert(Batch).values(values))
    return True


def end_shadow(session: Session, model_id: int, order: Order) -> bool:
    """End a shadow: close its batch, cancel its tasks that have not begun; False when the model is not the shadow."""
    model = locked_model(session, model_id)
    if model.state is not ModelState.SHADOW:
        return False
    change_state(session, model, ModelState.AVAILABLE, ModelChange.UNSHADOWED, order)
    batch_id = session.execute(
        update(Batch).where(_is_open(model_id)).values(closed_at=now_utc()).returning(Batch.id)
    ).scalar_one()
    session.execute(
        update(Task)
        .where(Task.batch_id == batch_id, Task.state == TaskState.PENDING)
        .values(state=TaskState.CANCELLED, finished_at=now_utc())
        .execution_options(synchronize_session=False)
    )
    return True


def shadow_batch(session: Session, model_id: int) -> int:
    """The open batch of the tasks of a shadow."""
    return session.execute(select(Batch.id).where(_is_open(model_id))).scalar_one()


def _is_open(model_id: int) -> ColumnElement[bool]:
    is_shadow = (Batch.kind == BatchKind.SHADOW) & (Batch.model_id == model_id)
    return is_shadow & Batch.closed_at.is_(None)


def known_shadow(session: Session) -> str | None:
    """The `name-version` of the shadow, else of the last one; None where there was none."""
    found = session.execute(
        select(Model)
        .join(Batch, Batch.model_id == Model.id)
        .where(Batch.kind == BatchKind.SHADOW)
        .order_by(Batch.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return label_of(found) if found else None


def was_shadow(session: Session, shadow: str) -> bool:
    """Whether a model (`name-version`) is or was the shadow."""
    label = Model.name + "-" + Model.version
    batches = select(Batch.id).join(Model, Model.id == Batch.model_id).where(Batch.kind == BatchKind.SHADOW)
    return session.execute(batches.where(label == shadow).limit(1)).first() is not None


def compare(session: Session, shadow: str) -> list[ShadowComparison]:
    """Compare a shadow (`name-version`) with each model that was active beside it."""
    view = SHADOW_COMPARISON.c
    active_label = view.active_model_name + "-" + view.active_model_version
    shadow_label = view.shadow_model_name + "-" + view.shadow_model_version
    of_both = [(first, second) for first in Label for second in Label]
    rows = session.execute(
        select(
            active_label,
            func.count(),
            *(_count((view.active_label == first) & (view.shadow_label == second)) for first, second in of_both),
            _count(view.active_label.is_not(None) & view.shadow_label.is_(None)),
            _count(view.active_label.is_(None) & view.shadow_label.is_not(None)),
            func.avg(view.difference),
            func.avg(func.abs(view.difference)),
        )
        .where(shadow_label == shadow, active_label.is_not(None))
        .group_by(active_label)
        .order_by(active_label)
    ).all()
    return [_comparison(shadow, *row) for row in rows]


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _comparison(shadow: str, active: str, films: int, *counts: Any) -> ShadowComparison:
    nn, np, pn, pp, only_active, only_shadow, mean, absolute = counts
    compared = nn + np + pn + pp
    return ShadowComparison(
        active=active,
        shadow=shadow,
        films=films,
        compared=compared,
        agree=nn + pp,
        both_normal=nn,
        both_pneumonia=pp,
        only_active_pneumonia=pn,
        only_shadow_pneumonia=np,
        only_active_answered=only_active,
        only_shadow_answered=only_shadow,
        kappa=_kappa(nn, np, pn, pp),
        mean_difference=mean,
        mean_absolute_difference=absolute,
    )


def _kappa(nn: int, np: int, pn: int, pp: int) -> float | None:
    """Cohen's kappa of a two by two table: agreement beyond what chance alone would give (Cohen 1960)."""
    total = nn + np + pn + pp
    if total == 0:
        return None
    chance = ((nn + np) * (nn + pn) + (pp + np) * (pp + pn)) / total**2
    return None if chance == 1 else ((nn + pp) / total - chance) / (1 - chance)
