"""The tasks of an image: the live one of the active model, the shadow's, and another one where the original is back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from dicom_io.reasons import Outcome, Reason
from worker.db.answers import recompute
from worker.db.models import in_use
from worker.db.schema import Result, Study, Task
from worker.db.shadow import shadow_batch
from worker.db.states import OPEN_TASK_STATES, TaskState
from worker.db.types import now_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

KIND_SCORE = "SCORE"
#: How much later than the live work and the re-runs of the same study a shadow's task comes.
SHADOW_DELAY = 100


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks of an image."""

    live_id: int | None
    shadow_id: int | None = None


def insert_tasks(session: Session, study: Study, image_id: int, priority: int) -> Tasks:
    """Add the live task of the active model, and that of the shadow if there is one."""
    models = in_use(session)
    live_id = _insert(session, study, image_id, models.active_id, priority)
    if models.shadow_id is None:
        return Tasks(live_id)
    batch_id = shadow_batch(session, models.shadow_id)
    later = priority + SHADOW_DELAY
    shadow_id = _insert(session, study, image_id, models.shadow_id, later, batch_id=batch_id, suffix=f":{batch_id}")
    return Tasks(live_id, shadow_id)


def live_task(session: Session, image_id: int) -> int | None:
    """The newest live task of an image."""
    newest = select(Task.id).where(Task.image_id == image_id, Task.batch_id.is_(None)).order_by(Task.id.desc()).limit(1)
    return session.execute(newest).scalar_one_or_none()


def retry_failed(session: Session, study: Study, image_id: int, key: str) -> int | None:
    """Give an image that was not judged another live task, now that its original is there; one for each key."""
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


def lacked_original(session: Session, image_id: int) -> bool:
    """Whether an image was not judged for want of its original."""
    reason = select(Result.reason_code).where(Result.image_id == image_id, Result.is_current)
    return session.scalar(reason) == Reason.ORIGINAL_MISSING


def _idem_key(image_id: int, model_id: int, suffix: str) -> str:
    return f"score:{image_id}:{model_id}{suffix}"


def _insert(  # noqa: PLR0913 - the columns of a task
    session: Session,
    study: Study,
    image_id: int,
    model_id: int,
    priority: int,
    *,
    batch_id: int | None = None,
    suffix: str = "",
) -> int:
    values: dict[str, Any] = {
        "kind": KIND_SCORE,
        "image_id": image_id,
        "model_id": model_id,
        "batch_id": batch_id,
        "revision": study.revision,
        "idem_key": _idem_key(image_id, model_id, suffix),
        "state": TaskState.PENDING,
        "priority": priority,
        "attempts": 0,
        "not_before_ms": 0,
        "lease_token": 0,
        "hint_count": 0,
        "created_at": now_utc(),
    }
    return session.execute(insert(Task).values(values).returning(Task.id)).scalar_one()
