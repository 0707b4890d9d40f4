"""Create the tasks of an image: one of the active model, one of the shadow, and a retry once its original is back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from dicom_io.reasons import Outcome, Reason
from worker.db.answers.recompute import recompute
from worker.db.answers.results import Judgement, TaskReference, record
from worker.db.models.bundles import InUse, in_use
from worker.db.schema.sql import table_of
from worker.db.schema.states import OPEN_TASK_STATES, TaskState
from worker.db.schema.study import Result, Study, Task
from worker.db.schema.types import now_utc
from worker.db.tasks.shadow import shadow_batch
from worker.db.tasks.takeover import result_to_take, take_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

KIND_SCORE = "SCORE"
#: Of all tasks of re-runs and of the shadow: they have a lane of their own, first in, first out.
BATCH_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class ImageTasks:
    """The ids of the tasks of an image."""

    live_id: int | None
    shadow_id: int | None = None


@dataclass(frozen=True, slots=True)
class NewImage:
    """What the tasks of a new image need: its id, the revision of its study, and the priority of the live one."""

    image_id: int
    revision: int
    priority: int


# Built once: each registration executes it.
_ADD_TASK = (
    insert(table_of(Task)).values(created_at=now_utc()).returning(table_of(Task).c.id, table_of(Task).c.image_id)
)


def insert_tasks(session: Session, study: Study, image_id: int, priority: int, *, has_versions: bool) -> ImageTasks:
    """Add the task of the active model, and that of the shadow if there is one; raises `NoActiveModel`.

    Where the film was judged as another version that differs in names alone, the task ends at once with that result.
    The shadow has judged that version, or will: the film is compared once. `has_versions`: whether there are others.
    """
    models = in_use(session)
    known = result_to_take(session, image_id, models.active_id) if has_versions else None
    if known is not None:
        live_id = _insert(session, study, image_id, models.active_id, priority)
        take_over(session, live_id, image_id, known)
        return ImageTasks(live_id)
    return _insert_new(session, models, [NewImage(image_id, study.revision, priority)])[0]


def insert_new_tasks(session: Session, images: Sequence[NewImage]) -> list[ImageTasks]:
    """Add the tasks of images without other versions, as `insert_tasks` does, in their order; raises `NoActiveModel`."""
    return _insert_new(session, in_use(session), images)


def _insert_new(session: Session, models: InUse, images: Sequence[NewImage]) -> list[ImageTasks]:
    live = _insert_all(session, [_values(new.image_id, models.active_id, new.revision, new.priority) for new in images])
    if models.shadow_id is None:
        return [ImageTasks(live_id) for live_id in live]
    batch_id = shadow_batch(session, models.shadow_id)
    shadow = _insert_all(
        session,
        [
            _values(
                new.image_id, models.shadow_id, new.revision, BATCH_PRIORITY, batch_id=batch_id, suffix=f":{batch_id}"
            )
            for new in images
        ],
    )
    return [ImageTasks(live_id, shadow_id) for live_id, shadow_id in zip(live, shadow, strict=True)]


def settle_own_result(session: Session, study: Study, image_id: int) -> int:
    """Add the task of a result of our own that came back, ended at once: it is never judged, and no answer waits for it.

    The caller holds the study's lock; raises `NoActiveModel`.
    """
    model_id = in_use(session).active_id
    task_id = _insert(session, study, image_id, model_id, BATCH_PRIORITY)
    session.execute(
        update(Task)
        .where(Task.id == task_id)
        .values(state=TaskState.DONE, finished_at=now_utc())
        .execution_options(synchronize_session=False)
    )
    reference = TaskReference(task_id, image_id, model_id, None, keep_current=False)
    record(session, reference, Judgement(Reason.OWN_RESULT))
    return task_id


def live_task(session: Session, image_id: int) -> int | None:
    """The newest live task of an image, None where there is none."""
    newest = select(Task.id).where(Task.image_id == image_id, Task.batch_id.is_(None)).order_by(Task.id.desc()).limit(1)
    return session.execute(newest).scalar_one_or_none()


def retry_failed(session: Session, study: Study, image_id: int, key: str) -> int | None:
    """Add a live task, once for each key, for an image that failed; None where it has a result or an open task."""
    model_id = in_use(session).active_id
    again = select(Task.id).where(Task.idem_key == _idem_key(image_id, model_id, f":{key}"))
    made = session.scalar(again)
    if made is not None:
        return made
    is_open = select(Task.id).where(
        Task.image_id == image_id, Task.batch_id.is_(None), Task.state.in_(OPEN_TASK_STATES)
    )
    outcome = session.scalar(select(Result.outcome).where(Result.image_id == image_id, Result.is_current))
    if outcome not in (Outcome.FAILED, Outcome.BAD_INPUT) or session.execute(is_open).first():
        return None
    made = _insert(session, study, image_id, model_id, study.priority, suffix=f":{key}")
    recompute(session, study.id)
    return made


def add_live_task(session: Session, study: Study, image_id: int, key: str) -> int:
    """Add a live task of the active model for an image without an open one, once for each key; raises `NoActiveModel`."""
    return _insert(session, study, image_id, in_use(session).active_id, study.priority, suffix=f":{key}")


def lacked_original(session: Session, image_id: int) -> bool:
    """Whether an image was not judged because its original was missing, or purged."""
    reason = select(Result.reason_code).where(Result.image_id == image_id, Result.is_current)
    return session.scalar(reason) in (Reason.ORIGINAL_MISSING, Reason.PURGED)


def _idem_key(image_id: int, model_id: int, suffix: str) -> str:
    return f"score:{image_id}:{model_id}{suffix}"


def _insert(session: Session, study: Study, image_id: int, model_id: int, priority: int, suffix: str = "") -> int:
    return _insert_all(session, [_values(image_id, model_id, study.revision, priority, suffix=suffix)])[0]


def _insert_all(session: Session, tasks: Sequence[dict[str, Any]]) -> list[int]:
    """Add tasks of different images; returns their ids in the same order."""
    found = session.execute(_ADD_TASK, tasks if len(tasks) > 1 else tasks[0]).all()
    ids = {row.image_id: int(row.id) for row in found}
    return [ids[task["image_id"]] for task in tasks]


def _values(
    image_id: int,
    model_id: int,
    revision: int,
    priority: int,
    *,
    batch_id: int | None = None,
    suffix: str = "",
) -> dict[str, Any]:
    return {
        "kind": KIND_SCORE,
        "image_id": image_id,
        "model_id": model_id,
        "batch_id": batch_id,
        "revision": revision,
        "idem_key": _idem_key(image_id, model_id, suffix),
        "state": TaskState.PENDING,
        "priority": priority,
        "attempts": 0,
        "not_before_ms": 0,
        "lease_token": 0,
        "hint_count": 0,
    }
