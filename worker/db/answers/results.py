"""Results are only added; the one that counts for an image is chosen here and kept unique by an index.

The choice does not depend on which task finishes first: the result of the newest task counts, but a failed result never
replaces a judged one, and a result of a re-run with `--keep-current` never counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, insert, or_, select, update

from dicom_io.reasons import Outcome, Reason
from worker.db.models.bundles import hold_models
from worker.db.schema.sql import table_of
from worker.db.schema.study import Image, Result, Suspension
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dicom_io.film.film import Film
    from model.serving.classifier import Score

_JUDGED = (Outcome.OK, Outcome.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate, the film and the network say about one image, handed on whole until it is written here."""

    #: Why the image was not judged; None where it was.
    reason: Reason | None = None
    #: What spoke against judging it and was accepted by the site's policy.
    flags: tuple[Reason, ...] = ()
    film: Film | None = None
    score: Score | None = None
    #: How unlike the training films the film is, where the model can tell; also of a film refused for it.
    unlikeness: float | None = None
    decode_ms: float | None = None
    inference_ms: float | None = None
    #: What computed the network: litert or keras.
    engine: str | None = None

    @property
    def outcome(self) -> Outcome:
        """OK unless there is a reason."""
        return (self.reason.outcome or Outcome.FAILED) if self.reason else Outcome.OK


@dataclass(frozen=True, slots=True)
class TaskReference:
    """The task that a result belongs to, with its image, model and batch."""

    task_id: int
    image_id: int
    model_id: int
    batch_id: int | None
    keep_current: bool


def failed(code: str) -> Judgement:
    """The judgement of a task that failed for good: its code if that is a reason of FAILED, else INTERNAL_ERROR."""
    known = {reason.value for reason in Reason if reason.outcome is Outcome.FAILED}
    return Judgement(Reason(str(code)) if str(code) in known else Reason.INTERNAL_ERROR)


def counts_before(outcome: Outcome, task_id: int, current_outcome: Outcome, current_task_id: int) -> bool:
    """Whether a new result takes the place of the current one; independent of which was written first."""
    return (outcome in _JUDGED, task_id) > (current_outcome in _JUDGED, current_task_id)


def in_doubt(result: Any = Result, suspension_id: int | None = None) -> ColumnElement[bool]:
    """SQL: whether a result falls under a suspension that has not ended, or that ended without releasing it.

    `suspension_id`: under this suspension alone. Only results of the network are in doubt, not refusals of the gate. A
    mark of when a study was read, once there is one, belongs here: a result that was read before the last good check is
    not in doubt.
    """
    of_model = and_(
        Suspension.model_id == result.model_id,
        Suspension.first_result_id <= result.id,
        or_(Suspension.last_task_id.is_(None), Suspension.last_task_id >= result.task_id),
    )
    if suspension_id is not None:
        of_model = and_(of_model, Suspension.id == suspension_id)
    return and_(was_seen(result), exists().where(of_model).correlate(result))


def was_seen(result: Any = Result) -> ColumnElement[bool]:
    """SQL: whether the network has seen the film, even if only to find it outside its scope."""
    return or_(result.probability.is_not(None), result.unlikeness.is_not(None))


# Built once: each film executes these.
_CURRENT = select(Result.id, Result.task_id, Result.outcome).where(
    Result.image_id == bindparam("image"), Result.is_current
)
_ADD_RESULT = insert(table_of(Result)).values(created_at=now_utc())
# Films are stored under the hash of their pixels.
_KEEP_FILM = (
    update(table_of(Image))
    .where(
        Image.id == bindparam("of_image"),
        or_(Image.film_version.is_(None), Image.film_version <= bindparam("version")),
    )
    .values(
        film_key=bindparam("digest"),
        film_version=bindparam("version"),
        film_sha256=bindparam("digest"),
        film_purged_at=None,
    )
)


def record(session: Session, task: TaskReference, judgement: Judgement) -> None:
    """Add a result and choose the one that counts; the caller holds the study's lock and the task's claim."""
    # No result may be written while a suspension begins or ends, because the results it covers are told by their ids.
    hold_models(session)
    current = session.execute(_CURRENT, {"image": task.image_id}).one_or_none()
    counts = not task.keep_current and (
        current is None or counts_before(judgement.outcome, task.task_id, current.outcome, current.task_id)
    )
    if counts and current is not None:
        session.execute(
            update(Result)
            .where(Result.id == current.id)
            .values(is_current=False)
            .execution_options(synchronize_session=False)
        )
    values = {
        "task_id": task.task_id,
        "image_id": task.image_id,
        "model_id": task.model_id,
        "batch_id": task.batch_id,
        **_columns(judgement),
        "is_current": counts,
        "supersedes_id": current.id if counts and current else None,
        "compared_id": current.id if current else None,
    }
    session.execute(_ADD_RESULT, values)
    if judgement.film:
        _keep_film(session, task.image_id, judgement.film)


def _columns(judgement: Judgement) -> dict[str, Any]:
    """The columns of a result for a judgement; the columns of a score have the names of its fields."""
    film = judgement.film
    of_film = (
        {"film_sha256": film.sha256, "film_version": film.version, "decoder": film.decoder or None} if film else {}
    )
    of_score = asdict(judgement.score) if judgement.score else {}
    return {
        **of_film,
        **of_score,
        "unlikeness": judgement.unlikeness,
        "outcome": judgement.outcome,
        "reason_code": judgement.reason.value if judgement.reason else None,
        "flags": judgement.flags,
        "decode_ms": judgement.decode_ms,
        "inference_ms": judgement.inference_ms,
        "engine": judgement.engine,
    }


def _keep_film(session: Session, image_id: int, film: Film) -> None:
    """Write the film to its image, unless the image has a newer version of it."""
    session.execute(_KEEP_FILM, {"of_image": image_id, "digest": film.sha256, "version": film.version})
