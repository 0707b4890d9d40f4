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
from worker.db.schema.site import WorkerProcess
from worker.db.schema.sql import table_of
from worker.db.schema.study import Image, Result, Suspension
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from dicom_io.film.film import Film
    from model.input_statistics import InputStatistics
    from model.serving.classifier import Score

_JUDGED = (Outcome.OK, Outcome.NOT_APPLICABLE)
#: Columns that only a score fills: all rows of one statement have the same columns.
_OF_SCORE = ("probability", "logit", "threshold", "label", "band")
#: The columns of what a film looks like, as the fields of `InputStatistics`.
LOOK = ("mean_grey", "contrast", "dark_share", "bright_share", "sharpness")


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
    #: What the film looks like; of every film that the network has seen.
    look: InputStatistics | None = None
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
    #: The worker that claimed it, which is on record as what judged it.
    owner: str | None = None


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
_RESULT, _IMAGE = table_of(Result).c, table_of(Image).c
_CURRENT = select(_RESULT.id, _RESULT.image_id, _RESULT.task_id, _RESULT.outcome).where(
    _RESULT.image_id.in_(bindparam("images", expanding=True)), _RESULT.is_current
)
_SUPERSEDE = (
    update(table_of(Result)).where(_RESULT.id.in_(bindparam("results", expanding=True))).values(is_current=False)
)
_JUDGED_BY = select(WorkerProcess.id).where(WorkerProcess.name == bindparam("owner")).scalar_subquery()
_ADD_RESULT = insert(table_of(Result)).values(created_at=now_utc(), worker_process_id=_JUDGED_BY)
# Films are stored under the hash of their pixels.
_KEEP_FILM = (
    update(table_of(Image))
    .where(
        _IMAGE.id == bindparam("of_image"),
        or_(_IMAGE.film_version.is_(None), _IMAGE.film_version <= bindparam("version")),
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
    record_all(session, [(task, judgement)])


def record_all(session: Session, judged: Sequence[tuple[TaskReference, Judgement]]) -> None:
    """Add results and choose those that count; the caller holds the locks of the studies and the claims of the tasks."""
    # No result may be written while a suspension begins or ends, because the results it covers are told by their ids.
    hold_models(session)
    rest = list(judged)
    while rest:
        # Of each image the first one; a second one is compared with it.
        first = {task.image_id: (task, judgement) for task, judgement in reversed(rest)}
        _record_one_each(session, list(first.values()))
        rest = [one for one in rest if first[one[0].image_id][0] is not one[0]]


def _record_one_each(session: Session, judged: Sequence[tuple[TaskReference, Judgement]]) -> None:
    """Add one result for each of several images."""
    images = [task.image_id for task, _ in judged]
    current = {row.image_id: row for row in session.execute(_CURRENT, {"images": images})}
    rows, superseded = [], []
    for task, judgement in judged:
        before = current.get(task.image_id)
        counts = not task.keep_current and (
            before is None or counts_before(judgement.outcome, task.task_id, before.outcome, before.task_id)
        )
        if counts and before is not None:
            superseded.append(before.id)
        rows.append(
            {
                "task_id": task.task_id,
                "image_id": task.image_id,
                "model_id": task.model_id,
                "batch_id": task.batch_id,
                **_columns(judgement),
                "is_current": counts,
                "supersedes_id": before.id if counts and before else None,
                "compared_id": before.id if before else None,
                "owner": task.owner,
            }
        )
    if superseded:
        session.execute(_SUPERSEDE, {"results": superseded})
    session.execute(_ADD_RESULT, rows)
    films = [
        {"of_image": task.image_id, "digest": judgement.film.sha256, "version": judgement.film.version}
        for task, judgement in judged
        if judgement.film
    ]
    if films:
        # An image that has a newer version of its film keeps that.
        session.execute(_KEEP_FILM, films)


def _columns(judgement: Judgement) -> dict[str, Any]:
    """The columns of a result for a judgement; the columns of a score have the names of its fields."""
    film = judgement.film
    of_score = asdict(judgement.score) if judgement.score else dict.fromkeys(_OF_SCORE)
    return {
        "film_sha256": film.sha256 if film else None,
        "film_version": film.version if film else None,
        "decoder": (film.decoder or None) if film else None,
        **of_score,
        **(asdict(judgement.look) if judgement.look else dict.fromkeys(LOOK)),
        "unlikeness": judgement.unlikeness,
        "outcome": judgement.outcome,
        "reason_code": judgement.reason.value if judgement.reason else None,
        "flags": judgement.flags,
        "decode_ms": judgement.decode_ms,
        "inference_ms": judgement.inference_ms,
        "engine": judgement.engine,
    }
