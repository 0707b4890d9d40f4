"""The shadow: a second model that scores what the active one scores, and that no study's answer ever hears of.

Its work is a batch that stays open and keeps the current results, so that everything that holds for such a re-run holds
for it: its tasks are in a lane of their own, its results never count, and no study waits for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, case, func, insert, select, update

from model.labels import Label
from worker.db.models import Order, change_state, label_of, locked_model, model_in
from worker.db.schema import Batch, Model, Task
from worker.db.sql import fitted
from worker.db.states import BatchKind, ModelChange, ModelState, TaskState
from worker.db.types import now_utc
from worker.db.views import SHADOW_COMPARISON
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SELECTOR = '{"shadow":true}'


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a shadow's answers lie beside those of the model that was active meanwhile."""

    active: str
    shadow: str
    films: int
    #: Films that both answered; the others were refused or failed in one of the two or both.
    compared: int
    agree: int
    both_normal: int
    both_pneumonia: int
    only_active_pneumonia: int
    only_shadow_pneumonia: int
    only_active_answered: int
    only_shadow_answered: int
    #: Cohen's kappa; None where both models know one label only, and chance alone would agree.
    kappa: float | None
    #: Of probabilities, shadow less active.
    mean_difference: float | None
    mean_absolute_difference: float | None

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return asdict(self)


def start_shadow(session: Session, model_id: int, order: Order) -> bool:
    """Let a model score new images beside the active one; False when it does already."""
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
    """End a shadow: its batch is closed and what nobody has begun is cancelled; False when it is no shadow."""
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
    """The batch that takes a shadow's tasks."""
    return session.execute(select(Batch.id).where(_is_open(model_id))).scalar_one()


def _is_open(model_id: int) -> ColumnElement[bool]:
    is_shadow = (Batch.kind == BatchKind.SHADOW) & (Batch.model_id == model_id)
    return is_shadow & Batch.closed_at.is_(None)


def known_shadow(session: Session) -> str | None:
    """The shadow, or else the model that was one last."""
    found = session.execute(
        select(Model)
        .join(Batch, Batch.model_id == Model.id)
        .where(Batch.kind == BatchKind.SHADOW)
        .order_by(Batch.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return label_of(found) if found else None


def was_shadow(session: Session, shadow: str) -> bool:
    """Whether a model is the shadow or was one."""
    label = Model.name + "-" + Model.version
    batches = select(Batch.id).join(Model, Model.id == Batch.model_id).where(Batch.kind == BatchKind.SHADOW)
    return session.execute(batches.where(label == shadow).limit(1)).first() is not None


def compare(session: Session, shadow: str) -> list[Comparison]:
    """Compare a shadow with each model that was active beside it."""
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


def _comparison(shadow: str, active: str, films: int, *counts: Any) -> Comparison:
    nn, np, pn, pp, only_active, only_shadow, mean, absolute = counts
    compared = nn + np + pn + pp
    return Comparison(
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
