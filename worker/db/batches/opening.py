"""A re-run gets its tasks: the films of some studies at a time, each part in a transaction of its own.

The batch's row says how far that is. Whoever goes on, whenever, goes on there: the command that ordered it, the same command
given again, or a dispatcher once the command is gone. Work on the first parts begins meanwhile. All films of a study are chosen in one
transaction and before any of them is worked on, so that what a re-run changes does not change which films it takes. Studies
that come after the order are not in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, cast, literal, or_, select, update

from worker.db.audit.codes import Act
from worker.db.audit.objects import name_batch, name_images
from worker.db.audit.record import Actor, record
from worker.db.batches.selection import Selector, parts, range_of
from worker.db.schema.sql import insert_from
from worker.db.schema.states import TaskState
from worker.db.schema.study import Batch, Image, Study, Task
from worker.db.schema.types import now_ms, now_utc
from worker.db.tasks.create import BATCH_PRIORITY, KIND_SCORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

#: Studies of a part: a tenth of a second to write, and for others to wait on SQLite.
STEP = 1_000
#: A command that has not gone on for as long is gone.
GONE_AFTER_MS = 60_000


@dataclass(frozen=True, slots=True)
class Opening:
    """How far a batch is: so many numbers of studies are left."""

    batch_id: int
    left: int


def begin(session: Session, batch_id: int, selector: Selector) -> None:
    """Give a new batch its first tasks, or all where its films cannot be taken in parts; in the transaction of its row."""
    batch = session.execute(select(Batch).where(Batch.id == batch_id)).scalar_one()
    actor = Actor.user(batch.who)
    if not selector.is_in_parts:
        for conditions in parts(session, selector):
            _add_tasks(session, batch, conditions)
        name_batch(session, _recorded(session, batch, actor), batch_id)
        return
    found = range_of(session, selector)
    if found is None:
        _recorded(session, batch, actor)
        return
    first, batch.opening_last_id = found
    name_images(session, _recorded(session, batch, actor), _add_part(session, batch, first, batch.opening_last_id))
    _note_command(session, batch_id)


def go_on(session: Session, batch_id: int) -> Opening | None:
    """Give a batch its next tasks, for the command that watches it; None where it has them all."""
    batch = _locked(session, Batch.id == batch_id)
    if batch is None:
        return None
    opening = _go_on(session, batch, Actor.user(batch.who))
    _note_command(session, batch_id)
    return opening


def go_on_without_command(session: Session) -> Opening | None:
    """Give its next tasks to a batch whose command is gone, for dispatchers; None where there is no such batch."""
    clock = now_ms()
    # A command's moment that is ahead is from before the clock was set back.
    is_left = or_(Batch.opening_at_ms < clock - GONE_AFTER_MS, Batch.opening_at_ms > clock + GONE_AFTER_MS)
    batch = _locked(session, is_left)
    return _go_on(session, batch, Actor(batch.who)) if batch else None


def how_far(session: Session, batch_id: int) -> Opening | None:
    """How far a batch is; None where it has all its tasks."""
    found = session.execute(select(Batch).where(Batch.id == batch_id, _IS_OPENING)).scalar_one_or_none()
    return _how_far(found) if found else None


_IS_OPENING = Batch.opening_after_id.is_not(None)


def _locked(session: Session, condition: ColumnElement[bool]) -> Batch | None:
    """The first batch under a condition that is being opened; others who would go on with it wait."""
    return session.execute(
        select(Batch)
        .where(_IS_OPENING, condition)
        .order_by(Batch.id)
        .limit(1)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).scalar_one_or_none()


def _go_on(session: Session, batch: Batch, actor: Actor) -> Opening:
    """Add the tasks of the next part, and say so in the trail."""
    after, last = batch.opening_after_id or 0, batch.opening_last_id or 0
    if images := _add_part(session, batch, after + 1, last):
        name_images(session, _recorded(session, batch, actor, continued=True), images)
    return _how_far(batch)


def _how_far(batch: Batch) -> Opening:
    after, last = batch.opening_after_id, batch.opening_last_id
    return Opening(batch.id, 0 if after is None or last is None else last - after)


def _note_command(session: Session, batch_id: int) -> None:
    noted = update(Batch).where(Batch.id == batch_id).values(opening_at_ms=now_ms())
    session.execute(noted.execution_options(synchronize_session=False))


def _add_part(session: Session, batch: Batch, first: int, last: int) -> Sequence[int]:
    """Add the tasks of a part that begins with the study `first`, and say in the row how far that is; returns its images."""
    end = min(first + STEP - 1, last)
    (conditions,) = parts(session, selector_of(batch.selector))
    images = _add_tasks(session, batch, [*conditions, Study.id.between(first, end)])
    batch.opening_after_id = end if end < last else None
    session.flush()
    return images


def selector_of(text: str) -> Selector:
    """The selector of a canonical text; one that names patients is not read back, as the text has their digests alone."""
    return Selector(**{name: _parsed(name, value) for name, value in json.loads(text).items()})


_MOMENTS = ("received_from", "received_to")
_DATES = ("study_date_from", "study_date_to")


def _parsed(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if name in _MOMENTS:
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if name in _DATES else value


def _recorded(session: Session, batch: Batch, actor: Actor, **more: bool) -> int:
    told = {"batch": batch.id, "model_id": batch.model_id, "keep_current": batch.keep_current, **more}
    return record(session, Act.RERUN_ORDERED, actor, detail=told)


def _add_tasks(session: Session, batch: Batch, conditions: Sequence[ColumnElement[bool]]) -> Sequence[int]:
    """Add a task for each image under these conditions that has none in the batch; returns the images.

    It has one where a decision about its patient has brought it to a later study since.
    """
    key = literal("score:") + cast(Image.id, String) + literal(f":{batch.model_id}:{batch.id}")
    values: dict[str, Any] = {
        "kind": literal(KIND_SCORE),
        "image_id": Image.id,
        "model_id": literal(batch.model_id),
        "batch_id": literal(batch.id),
        "revision": Study.revision,
        "idem_key": key,
        "state": literal(TaskState.PENDING.value),
        "priority": literal(BATCH_PRIORITY),
        "attempts": literal(0),
        "not_before_ms": literal(0),
        "lease_token": literal(0),
        "hint_count": literal(0),
        "created_at": now_utc(),
    }
    rows = (
        select(*(value.label(name) for name, value in values.items()))
        .join(Study, Study.id == Image.study_id)
        .where(*conditions)
        .order_by(Study.first_rx_at, Image.id)
    )
    images = insert_from(session, Task, rows, key="idem_key", returning="image_id")
    batch.n_tasks += len(images)
    session.flush()
    return images
