"""Re-runs in SQL: which studies, the batch with its tasks in one transaction, how far it is, and what flipped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, String, cast, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from dicom_io.reasons import Outcome
from model.labels import Label
from worker.db.models import check_usable
from worker.db.queries import known
from worker.db.schema import Batch, Image, Model, Result, Study, Task
from worker.db.sql import fitted, is_claimable
from worker.db.states import OPEN_TASK_STATES, StudyState, TaskState
from worker.db.types import now_utc
from worker.db.work import KIND_SCORE
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Selector:
    """Which studies: every field that is set must hold, of a list any member; `all` is needed to name every study."""

    study_uids: tuple[str, ...] = ()
    accession_numbers: tuple[str, ...] = ()
    #: Received at or after, and before.
    received_from: datetime | None = None
    received_to: datetime | None = None
    #: Study dates, both inclusive.
    study_date_from: date | None = None
    study_date_to: date | None = None
    states: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    #: `name-version` of the model of a current result.
    scored_by: str | None = None
    all: bool = False

    def canonical(self) -> str:
        """Write the selector as JSON in one spelling: the same question is the same text."""
        return json.dumps(
            {name: _plain(value) for name, value in asdict(self).items() if value},
            sort_keys=True,
            separators=(",", ":"),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return sorted(set(value)) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Matching:
    """How much a selector names."""

    studies: int
    images: int


@dataclass(frozen=True, slots=True)
class OpenedBatch:
    """The batch to work on: a new one, or the one that was left open."""

    batch_id: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is, in tasks."""

    total: int
    done: int
    failed: int
    open: int

    @property
    def finished(self) -> int:
        """Tasks that ended, in whichever way."""
        return self.total - self.open

    def as_dict(self) -> dict[str, int]:
        """For a JSON document."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Flip:
    """An image that the re-run labelled otherwise than the result that counted before."""

    study_uid: str
    sop_uid: str
    old_label: str | None
    old_probability: float | None
    old_model: str
    new_label: str | None
    new_probability: float | None
    new_model: str

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return asdict(self)


def matching(session: Session, selector: Selector) -> Matching:
    """Count the studies and current images a selector names."""
    studies, images = session.execute(
        select(func.count(Study.id.distinct()), func.count())
        .select_from(Image)
        .join(Study, Study.id == Image.study_id)
        .where(Image.is_current, *_conditions(selector))
    ).one()
    return Matching(studies, images)


def open_batch(
    session: Session, *, selector: Selector, model_id: int, who: str, why: str, keep_current: bool
) -> OpenedBatch:
    """Open a batch with all its tasks in one transaction, or resume the one still open for the same question.

    Raises `UsageError` for a retired model.
    """
    check_usable(session, model_id)
    text = selector.canonical()
    digest = hashlib.sha256(text.encode()).hexdigest()
    same = select(Batch.id).where(
        Batch.selector_sha256 == digest,
        Batch.model_id == model_id,
        Batch.keep_current == keep_current,
        Batch.closed_at.is_(None),
    )
    found = session.execute(same).scalar_one_or_none()
    if found is not None:
        return OpenedBatch(found, resumed=True)
    values = {
        **fitted(Batch, {"who": who, "why": why}),
        "selector": text,
        "selector_sha256": digest,
        "model_id": model_id,
        "keep_current": keep_current,
        "created_at": now_utc(),
        "n_tasks": 0,
    }
    try:
        with session.begin_nested():
            batch_id = session.execute(insert(Batch).values(values).returning(Batch.id)).scalar_one()
    except IntegrityError:
        # Somebody asked the same at the same moment.
        return OpenedBatch(session.execute(same).scalar_one(), resumed=True)
    _add_tasks(session, batch_id, model_id, selector)
    close_batch_if_done(session, batch_id)
    return OpenedBatch(batch_id, resumed=False)


def _add_tasks(session: Session, batch_id: int, model_id: int, selector: Selector) -> None:
    key = literal("score:") + cast(Image.id, String) + literal(f":{model_id}:{batch_id}")
    values: dict[str, Any] = {
        "kind": literal(KIND_SCORE),
        "image_id": Image.id,
        "model_id": literal(model_id),
        "batch_id": literal(batch_id),
        "revision": Study.revision,
        "idem_key": key,
        "state": literal(TaskState.PENDING.value),
        "priority": Study.priority,
        "attempts": literal(0),
        "not_before_ms": literal(0),
        "lease_token": literal(0),
        "hint_count": literal(0),
        "created_at": now_utc(),
    }
    chosen = (
        select(*(value.label(name) for name, value in values.items()))
        .join(Study, Study.id == Image.study_id)
        .where(Image.is_current, *_conditions(selector))
        .order_by(Study.first_rx_at, Image.id)
    )
    session.execute(insert(Task).from_select(list(values), chosen))
    count = select(func.count()).where(Task.batch_id == batch_id).scalar_subquery()
    session.execute(
        update(Batch).where(Batch.id == batch_id).values(n_tasks=count).execution_options(synchronize_session=False)
    )


def _conditions(selector: Selector) -> list[ColumnElement[bool]]:
    if selector == Selector():
        msg = "a re-run needs a selection: name studies, or all of them by --all"
        raise UsageError(msg)
    columns = (
        (Study.study_uid, selector.study_uids),
        (Study.accession_number, selector.accession_numbers),
        (Study.state, known(selector.states, StudyState)),
        (Study.label, known(selector.labels, Label)),
    )
    conditions: list[ColumnElement[bool]] = [Study.merged_into_id.is_(None)]
    conditions += [column.in_(values) for column, values in columns if values]
    if selector.received_from:
        conditions.append(Study.first_rx_at >= selector.received_from)
    if selector.received_to:
        conditions.append(Study.first_rx_at < selector.received_to)
    if selector.study_date_from:
        conditions.append(Study.study_date >= selector.study_date_from)
    if selector.study_date_to:
        conditions.append(Study.study_date <= selector.study_date_to)
    if selector.scored_by:
        conditions.append(_was_scored_by(selector.scored_by))
    return conditions


def _was_scored_by(model: str) -> ColumnElement[bool]:
    other = aliased(Image)
    return (
        select(other.id)
        .join(Result, Result.image_id == other.id)
        .join(Model, Model.id == Result.model_id)
        .where(
            other.study_id == Study.id,
            other.is_current,
            Result.is_current,
            Model.name + literal("-") + Model.version == model,
        )
        .exists()
    )


def progress(session: Session, batch_id: int) -> BatchProgress:
    """Count a batch's tasks by how they ended."""
    rows = session.execute(select(Task.state, func.count()).where(Task.batch_id == batch_id).group_by(Task.state)).all()
    counts = dict(rows)
    return BatchProgress(
        total=sum(counts.values()),
        done=counts.get(TaskState.DONE, 0),
        failed=counts.get(TaskState.FAILED, 0),
        open=sum(counts.get(state, 0) for state in OPEN_TASK_STATES),
    )


def pending_ids(session: Session, batch_id: int, limit: int) -> Sequence[int]:
    """Tasks of the batch that have not ended, those that can be claimed now first."""
    return (
        session.execute(
            select(Task.id)
            .where(Task.batch_id == batch_id, Task.state.in_(OPEN_TASK_STATES))
            .order_by(is_claimable().desc(), Task.priority, Task.id)
            .limit(limit)
        )
        .scalars()
        .all()
    )


def close_batch_if_done(session: Session, batch_id: int) -> bool:
    """Close a batch none of whose tasks is open."""
    is_open = select(Task.id).where(Task.batch_id == batch_id, Task.state.in_(OPEN_TASK_STATES)).exists()
    closed = session.execute(
        update(Batch)
        .where(Batch.id == batch_id, Batch.closed_at.is_(None), ~is_open)
        .values(closed_at=now_utc())
        .returning(Batch.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return closed is not None


def flips(session: Session, batch_id: int) -> list[Flip]:
    """Images judged otherwise than before by this batch; a re-run that failed flips nothing."""
    old, old_model, new_model = aliased(Result), aliased(Model), aliased(Model)
    rows = session.execute(
        select(
            Study.study_uid,
            Image.sop_uid,
            old.label,
            old.probability,
            old_model.name + literal("-") + old_model.version,
            Result.label,
            Result.probability,
            new_model.name + literal("-") + new_model.version,
        )
        .select_from(Result)
        .join(old, old.id == Result.compared_id)
        .join(old_model, old_model.id == old.model_id)
        .join(new_model, new_model.id == Result.model_id)
        .join(Image, Image.id == Result.image_id)
        .join(Study, Study.id == Image.study_id)
        .where(
            Result.batch_id == batch_id,
            Result.outcome.in_((Outcome.OK, Outcome.NOT_APPLICABLE)),
            Result.label.is_distinct_from(old.label),
        )
        .order_by(Result.id)
    ).all()
    return [Flip(*row) for row in rows]
