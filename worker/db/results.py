"""Results are only added; which one counts for an image is decided here and kept unique by an index.

The rule does not depend on who finishes first: of all results of an image the one of the most recently made task
counts, but one that failed never stands before one that was judged, and one of a `--keep-current` re-run never counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import insert, or_, select, update

from dicom_io.reasons import Outcome, Reason
from worker.db.schema import Image, Result
from worker.db.sql import fitted
from worker.db.types import now_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from model.labels import Band, Label

_JUDGED = (Outcome.OK, Outcome.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What a worker found; everything but the outcome may be missing."""

    outcome: Outcome
    reason_code: Reason | None = None
    flags: tuple[str, ...] = field(default=())
    probability: float | None = None
    logit: float | None = None
    threshold: float | None = None
    label: Label | None = None
    film_sha256: str | None = None
    film_version: int | None = None
    film_key: str | None = None
    decode_ms: float | None = None
    inference_ms: float | None = None
    engine: str | None = None
    band: Band | None = None
    unlikeness: float | None = None
    decoder: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a result is about."""

    task_id: int
    image_id: int
    model_id: int
    batch_id: int | None
    keep_current: bool


def failed_row(code: str) -> ResultRow:
    """The result of a task that is given up: the code when it is a reason to fail, else INTERNAL_ERROR."""
    known = {reason.value for reason in Reason if reason.outcome is Outcome.FAILED}
    return ResultRow(Outcome.FAILED, Reason(str(code)) if str(code) in known else Reason.INTERNAL_ERROR)


def counts_before(outcome: Outcome, task_id: int, current_outcome: Outcome, current_task_id: int) -> bool:
    """Whether a new result counts and not the current one, whichever of the two was written first."""
    return (outcome in _JUDGED, task_id) > (current_outcome in _JUDGED, current_task_id)


def record(session: Session, subject: Subject, row: ResultRow) -> None:
    """Add a result and settle which one counts; the caller holds the study's lock and its task's claim."""
    current = session.execute(
        select(Result.id, Result.task_id, Result.outcome).where(Result.image_id == subject.image_id, Result.is_current)
    ).one_or_none()
    counts = not subject.keep_current and (
        current is None or counts_before(row.outcome, subject.task_id, current.outcome, current.task_id)
    )
    if counts and current is not None:
        session.execute(
            update(Result)
            .where(Result.id == current.id)
            .values(is_current=False)
            .execution_options(synchronize_session=False)
        )
    session.execute(
        insert(Result).values(
            task_id=subject.task_id,
            image_id=subject.image_id,
            model_id=subject.model_id,
            batch_id=subject.batch_id,
            outcome=row.outcome,
            reason_code=row.reason_code.value if row.reason_code else None,
            flags=row.flags,
            probability=row.probability,
            logit=row.logit,
            threshold=row.threshold,
            label=row.label,
            film_sha256=row.film_sha256,
            film_version=row.film_version,
            decode_ms=row.decode_ms,
            inference_ms=row.inference_ms,
            engine=row.engine,
            band=row.band,
            unlikeness=row.unlikeness,
            decoder=row.decoder,
            is_current=counts,
            supersedes_id=current.id if counts and current else None,
            compared_id=current.id if current else None,
            created_at=now_utc(),
        )
    )
    if row.film_key:
        _keep_film(session, subject.image_id, row)


def _keep_film(session: Session, image_id: int, row: ResultRow) -> None:
    """Note the film on its image, unless a newer version is noted already."""
    film = fitted(Image, {"film_key": row.film_key, "film_version": row.film_version, "film_sha256": row.film_sha256})
    session.execute(
        update(Image)
        .where(Image.id == image_id, or_(Image.film_version.is_(None), Image.film_version <= row.film_version))
        .values(film)
        .execution_options(synchronize_session=False)
    )
