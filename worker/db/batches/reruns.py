"""Re-runs: a batch, its progress, and the labels that it changed; `opening` gives it its tasks."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from dicom_io.reasons import Outcome
from worker.db.batches import opening
from worker.db.models.bundles import check_usable
from worker.db.schema.sql import fitted, is_claimable
from worker.db.schema.states import OPEN_TASK_STATES, TaskState
from worker.db.schema.study import Batch, Image, Model, Result, Study, Task
from worker.db.schema.types import now_utc
from worker.db.tasks.ending import CLOSED, is_open_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.db.batches.selection import Selector


@dataclass(frozen=True, slots=True)
class OpenedBatch:
    """The batch to work on: a new one, or one that is still open."""

    batch_id: int
    resumed: bool
    #: Whether its results are only added and never become current.
    keep_current: bool


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """The progress of a batch, in tasks."""

    total: int
    done: int
    failed: int
    open: int

    @property
    def finished(self) -> int:
        """Tasks that ended, in any way."""
        return self.total - self.open

    def as_dict(self) -> dict[str, int]:
        """For a JSON document."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Flip:
    """An image to which a re-run gave another label than the result that counted before."""

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


def open_batch(
    session: Session, *, selector: Selector, model_id: int, who: str, why: str, keep_current: bool
) -> OpenedBatch:
    """Open a batch with its first tasks, or resume the open one with the same selection and model.

    The caller goes on with the other tasks (`opening.go_on`). Raises `UsageError` for a retired model.
    """
    check_usable(session, model_id)
    text = selector.canonical()
    found = batch_left_open(session, selector, model_id, keep_current=keep_current)
    if found is not None:
        return found
    values = {
        **fitted(Batch, {"who": who, "why": why}),
        "selector": text,
        "selector_sha256": _digest(text),
        "model_id": model_id,
        "keep_current": keep_current,
        "created_at": now_utc(),
        "n_tasks": 0,
    }
    try:
        with session.begin_nested():
            batch_id = session.execute(insert(Batch).values(values).returning(Batch.id)).scalar_one()
    except IntegrityError:
        # The same batch was opened at the same moment.
        found = batch_left_open(session, selector, model_id, keep_current=keep_current)
        if found is None:
            raise
        return found
    opening.begin(session, batch_id, selector)
    close_batch_if_done(session, batch_id)
    return OpenedBatch(batch_id, resumed=False, keep_current=keep_current)


def batch_left_open(
    session: Session, selector: Selector, model_id: int, *, keep_current: bool | None = None
) -> OpenedBatch | None:
    """The open batch with this selection and model; `keep_current` None: whether or not its results count."""
    same = select(Batch.id, Batch.keep_current).where(
        Batch.selector_sha256 == _digest(selector.canonical()), Batch.model_id == model_id, Batch.closed_at.is_(None)
    )
    if keep_current is not None:
        same = same.where(Batch.keep_current == keep_current)
    found = session.execute(same.order_by(Batch.id.desc()).limit(1)).one_or_none()
    return OpenedBatch(found.id, resumed=True, keep_current=found.keep_current) if found else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
    """Open tasks of the batch, those first that can be claimed now; each kind in the order of its numbers."""
    # Two questions, as one would sort all open tasks of the batch.
    found: list[int] = []
    for is_wanted in (is_claimable(), ~is_claimable()):
        if len(found) < limit:
            some = select(Task.id).where(*is_open_in(batch_id), is_wanted).order_by(Task.id).limit(limit - len(found))
            found += session.scalars(some)
    return found


def close_batch_if_done(session: Session, batch_id: int) -> bool:
    """Close a batch that is opened and has no open tasks; whether it was closed."""
    is_open = select(Task.id).where(*is_open_in(batch_id)).exists()
    closed = session.execute(
        update(Batch)
        .where(Batch.id == batch_id, Batch.closed_at.is_(None), Batch.opening_after_id.is_(None), ~is_open)
        .values(CLOSED)
        .returning(Batch.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return closed is not None


def flips(session: Session, batch_id: int) -> list[Flip]:
    """The images whose label this batch changed; a failed re-run changes none."""
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
