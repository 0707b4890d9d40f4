"""A film that comes again with a corrected header and equal pixels keeps its result: it is not judged again.

Strict: whatever could make another answer makes a new task. Pixels, the header as far as a film could depend on it, all
facts that the gate reads, the model and the version of the code that makes films must be the same, and the result must
be one that is not in doubt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from dicom_io.film.version import FILM_VERSION
from dicom_io.reasons import Outcome
from worker.db.answers.results import in_doubt
from worker.db.identity.versions import GATE_COLUMNS
from worker.db.schema.states import TaskState
from worker.db.schema.study import Image, Result, Task
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_FILM_COLUMNS = ("film_key", "film_version", "film_sha256", "film_purged_at")
#: What a copy has of its own: its place, and no times, which belong to the result that was computed.
_OWN_COLUMNS = frozenset(
    {
        *("id", "task_id", "image_id", "batch_id", "is_current", "created_at", "taken_from_id"),
        *("supersedes_id", "compared_id", "decode_ms", "inference_ms"),
    }
)
_COPIED = tuple(column.key for column in Result.__table__.columns if column.key not in _OWN_COLUMNS)


def result_to_take(session: Session, image_id: int, model_id: int) -> Result | None:
    """The result of another version of the same film that says what judging this image would say; None where none does."""
    image = session.get_one(Image, image_id, populate_existing=True)
    if not (image.has_pixel_data and image.pixel_sha256 and image.film_header_sha256):
        return None
    same = [getattr(Image, name) == getattr(image, name) for name in ("study_id", "sop_uid", "series_uid")]
    same += [getattr(Image, name) == getattr(image, name) for name in ("pixel_sha256", "film_header_sha256")]
    same += [getattr(Image, name).is_not_distinct_from(getattr(image, name)) for name in GATE_COLUMNS]
    found = (
        select(Result)
        .join(Image, Image.id == Result.image_id)
        .where(
            *same,
            Image.id != image_id,
            Result.is_current,
            Result.batch_id.is_(None),
            Result.outcome == Outcome.OK,
            Result.model_id == model_id,
            Result.film_version == FILM_VERSION,
            ~in_doubt(),
        )
        .order_by(Result.id.desc())
        .limit(1)
    )
    return session.scalar(found)


def take_over(session: Session, task_id: int, image_id: int, result: Result) -> None:
    """End the task of an image with a copy of a result; the caller holds the study's lock and the models."""
    session.execute(
        update(Task)
        .where(Task.id == task_id)
        .values(state=TaskState.DONE, finished_at=now_utc())
        .execution_options(synchronize_session=False)
    )
    values = {name: getattr(result, name) for name in _COPIED}
    values |= {"task_id": task_id, "image_id": image_id, "is_current": True, "created_at": now_utc()}
    session.execute(insert(Result).values(values | {"taken_from_id": result.taken_from_id or result.id}))
    before = session.execute(
        select(*(getattr(Image, name) for name in _FILM_COLUMNS)).where(Image.id == result.image_id)
    ).one()
    session.execute(
        update(Image)
        .where(Image.id == image_id)
        .values(dict(zip(_FILM_COLUMNS, before, strict=True)))
        .execution_options(synchronize_session=False)
    )
