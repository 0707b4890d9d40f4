"""Suspended models: their results are computed and kept, but the worklist withholds their NORMAL and flags the rest.

A suspension covers the results since the last good check and those until it ends; `results.in_doubt` is that rule in
SQL. A person suspends a model, or, where the site wants that, a change of its pictures (`worker.health.drift`); a change of
prevalence raises an alarm alone, because a wave of influenza is not a fault. A bound on the agreement with radiologists
would call `suspend` too.

The transaction that begins or ends a suspension holds all models, so that no answer is computed meanwhile, and locks no
study: their answers are computed afterwards, a part at a time (`withholding`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from worker.db.answers.results import was_seen
from worker.db.batches import reruns
from worker.db.batches.selection import Selector, matching
from worker.db.models.bundles import Order, add_event, label_of, locked_model, model_in
from worker.db.schema.sql import fitted
from worker.db.schema.states import ModelChange, ModelState, StudyState, SuspensionEnd
from worker.db.schema.study import Image, Model, ModelEvent, Result, Study, Suspension, Task
from worker.db.schema.types import now_utc
from worker.errors import NoActiveModel, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from model.labels import Label


@dataclass(frozen=True, slots=True)
class Affected:
    """The number of studies whose answer depends on results in doubt, by what they say."""

    normal: int = 0
    withheld: int = 0
    pneumonia: int = 0
    #: Without a label: not applicable, failed or unfinished.
    other: int = 0


@dataclass(frozen=True, slots=True)
class SuspensionPreview:
    """What a suspension covers or would cover: since when, which studies, how many films to re-run."""

    since: datetime
    affected: Affected
    films: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """What ended with a suspension; a re-run that has films has its batch, its model and their number."""

    affected: Affected
    batch: reruns.OpenedBatch | None = None
    model: str | None = None
    films: int = 0


def last_good_check(session: Session, model: Model) -> datetime:
    """The moment from which results of a model are in doubt, unless a person gives another.

    It is the last decision for the model: its last activation, or the end of its last suspension; of a model that was
    never activated, the moment when it became known. A check of agreement that finds a model good belongs here.
    """
    activated = select(func.max(ModelEvent.at)).where(
        ModelEvent.model_id == model.id, ModelEvent.event == ModelChange.ACTIVATED
    )
    resumed = select(func.max(Suspension.ended_at)).where(Suspension.model_id == model.id)
    moments = [session.scalar(activated), session.scalar(resumed)]
    return max((moment for moment in moments if moment is not None), default=model.created_at)


def suspend(session: Session, model_id: int, order: Order, since: datetime | None = None) -> Affected | None:
    """Suspend a model from this commit on; None when it is suspended already, unless an earlier `since` adds results.

    `since`: its last good check, by default `last_good_check`. Raises `UsageError` for a moment in the future.
    """
    model = locked_model(session, model_id)
    open_row = _open(session, model_id)
    since = since or (open_row.since if open_row else last_good_check(session, model))
    moment = session.execute(select(now_utc())).scalar_one()
    if since > moment:
        msg = "the last good check must be in the past: give --since a moment before now"
        raise UsageError(msg)
    first = _first_result(session, since)
    if open_row is not None and open_row.first_result_id <= first:
        return None
    values = fitted(Suspension, {"who": order.who, "why": order.why}) | {
        "since": since,
        "first_result_id": first,
        "next_result_id": _next_result(session),
    }
    if open_row is None:
        session.execute(insert(Suspension).values(**values, model_id=model_id, at=moment))
    else:
        session.execute(update(Suspension).where(Suspension.id == open_row.id).values(**values))
    affected = _affected(session, model_id, first)
    detail = _detail(since=since.isoformat(), **asdict(affected))
    add_event(session, model_id, ModelChange.SUSPENDED, order, detail)
    return affected


def resume(session: Session, model_id: int, end: SuspensionEnd, order: Order) -> Resumed:
    """End a suspension from this commit on, and open the batch of a re-run; raises `UsageError` where there is none.

    Results of tasks made before the end stay in doubt unless they are released, also those still to come.
    """
    row = _suspension_of(session, locked_model(session, model_id))
    affected = _affected(session, model_id, row.first_result_id)
    is_released = end is SuspensionEnd.RELEASED
    values: dict[str, Any] = {
        "ended_at": now_utc(),
        "ended_how": end,
        "last_task_id": 0 if is_released else session.scalar(select(func.coalesce(func.max(Task.id), 0))),
    }
    if is_released:
        values["next_result_id"] = _next_result(session)
    session.execute(update(Suspension).where(Suspension.id == row.id).values(**values))
    resumed = _requeued(session, row.id, affected, order) if end is SuspensionEnd.REQUEUED else Resumed(affected)
    known = {"batch": resumed.batch.batch_id, "model": resumed.model, "films": resumed.films} if resumed.batch else {}
    detail = _detail(since=row.since.isoformat(), **asdict(affected), **known)
    add_event(session, model_id, end.event, order, detail)
    return resumed


def before_suspending(session: Session, model_id: int, since: datetime | None) -> SuspensionPreview:
    """What `suspend` would cover; nothing is written."""
    model = session.execute(select(Model).where(Model.id == model_id)).scalar_one()
    row = _open(session, model_id)
    since = since or (row.since if row else last_good_check(session, model))
    return SuspensionPreview(since, _affected(session, model_id, _first_result(session, since)))


def before_resuming(session: Session, model_id: int) -> SuspensionPreview:
    """What `resume` would cover; nothing is written. Raises `UsageError` where the model is not suspended."""
    model = session.execute(select(Model).where(Model.id == model_id)).scalar_one()
    row = _suspension_of(session, model)
    films = matching(session, Selector(suspension=row.id)).images
    return SuspensionPreview(row.since, _affected(session, model_id, row.first_result_id), films)


def results_to_follow(session: Session) -> int:
    """How many ids of results are left whose studies are to be answered again."""
    left = select(func.sum(Suspension.next_result_id - Suspension.first_result_id))
    return int(session.scalar(left.where(Suspension.next_result_id.is_not(None))) or 0)


def suspended_models(session: Session) -> list[str]:
    """The models that are suspended, as `name-version`."""
    rows = select(Model).join(Suspension, Suspension.model_id == Model.id).where(Suspension.ended_at.is_(None))
    return [label_of(model) for model in session.scalars(rows.order_by(Model.id))]


def _open(session: Session, model_id: int) -> Suspension | None:
    statement = select(Suspension).where(Suspension.model_id == model_id, Suspension.ended_at.is_(None))
    return session.execute(statement, execution_options={"populate_existing": True}).scalar_one_or_none()


def _suspension_of(session: Session, model: Model) -> Suspension:
    row = _open(session, model.id)
    if row is None:
        msg = f"{label_of(model)} is not suspended: there is nothing to resume"
        raise UsageError(msg)
    return row


def _first_result(session: Session, since: datetime) -> int:
    """The id of the first result since then, else of the next result."""
    first = session.scalar(select(func.min(Result.id)).where(Result.created_at >= since))
    return _next_result(session) if first is None else first


def _next_result(session: Session) -> int:
    return session.execute(select(func.coalesce(func.max(Result.id), 0) + 1)).scalar_one()


def _affected(session: Session, model_id: int, first_result_id: int) -> Affected:
    """Count the studies with a current result of the model that has this id or a later one."""
    studies = (
        select(Image.study_id)
        .join(Result, Result.image_id == Image.id)
        .where(
            Image.is_current, Result.is_current, Result.model_id == model_id, Result.id >= first_result_id, was_seen()
        )
    )
    rows = session.execute(
        select(Study.label, Study.state, func.count())
        .where(Study.id.in_(studies), Study.merged_into_id.is_(None))
        .group_by(Study.label, Study.state)
    ).all()
    counts: Counter[str] = Counter()
    for label, state, number in rows:
        counts[_says(label, state)] += number
    return Affected(**counts)


def _says(label: Label | None, state: StudyState) -> str:
    if label is not None:
        return label.value.lower()
    return "withheld" if state is StudyState.WITHHELD else "other"


def _requeued(session: Session, suspension_id: int, affected: Affected, order: Order) -> Resumed:
    """Re-run the films in doubt with the active model; its results become current."""
    active = model_in(session, ModelState.ACTIVE)
    if active is None:
        raise NoActiveModel
    if _open(session, active.id) is not None:
        msg = f"{label_of(active)} is the active model and suspended as well: activate another model first"
        raise UsageError(msg)
    selector = Selector(suspension=suspension_id)
    films = matching(session, selector).images
    if not films:
        return Resumed(affected)
    batch = reruns.open_batch(
        session, selector=selector, model_id=active.id, who=order.who, why=order.why, keep_current=False
    )
    return Resumed(affected, batch, label_of(active), films)


def _detail(**known: Any) -> str:
    return json.dumps(known, sort_keys=True, separators=(",", ":"))
