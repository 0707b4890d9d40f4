"""What the reports show beside the worklist: the films of a study, what readers said, and the studies of a period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from worker.db.identity.withdrawals import is_withdrawn
from worker.db.models.bundles import label_of
from worker.db.schema.study import Image, Model, Result, Study
from worker.db.schema.views import AGREEMENT, ASSESSMENTS, REFUSED, WORKLIST, Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.orm import Session

    from worker.db.read.naming import StudyKey

#: Rows that are held at once of a period.
_AT_ONCE = 1000
#: What a report of a period counts, of the worklist.
_COUNTED = (
    "study_uid",
    "side",
    "accession_number",
    "ai_status",
    "label",
    "previous_label",
    "probability",
    "threshold",
    "reason",
    "model_name",
    "model_version",
    "turnaround_s",
    "manufacturer",
    "device_model",
    "station_name",
)


@dataclass(frozen=True, slots=True)
class ReportFilm:
    """A film that counts in a study, with its current result; without a result its fields are None."""

    sop_uid: str
    view_position: str
    rows: int
    columns: int
    film_key: str | None
    film_version: int | None
    is_film_purged: bool
    is_withdrawn: bool
    received_at: datetime
    outcome: str | None
    reason: str | None
    label: str | None
    probability: float | None
    flags: tuple[str, ...]
    engine: str | None
    #: `name-version`.
    model: str | None
    #: SHA-256 of everything of the model on which a score depends.
    model_digest: str | None


def films_of(session: Session, key: StudyKey) -> list[ReportFilm]:
    """The films of a row of the worklist: by falling score, then the others as they came; withdrawn ones last."""
    rows = session.execute(
        select(Image, Result, Model, is_withdrawn())
        .join(Study, Study.id == Image.study_id)
        .outerjoin(Result, (Result.image_id == Image.id) & Result.is_current)
        .outerjoin(Model, Model.id == Result.model_id)
        .where(
            Image.is_current, Study.study_uid == key.study_uid, Study.side == key.side, Study.merged_into_id.is_(None)
        )
        .order_by(Image.id)
    )
    films = [_film(image, result, model, withdrawn=bool(withdrawn)) for image, result, model, withdrawn in rows]
    return sorted(films, key=lambda film: (film.is_withdrawn, film.probability is None, -(film.probability or 0)))


def _film(image: Image, result: Result | None, model: Model | None, *, withdrawn: bool) -> ReportFilm:
    return ReportFilm(
        sop_uid=image.sop_uid,
        view_position=image.view_position,
        rows=image.rows,
        columns=image.columns,
        film_key=image.film_key,
        film_version=image.film_version,
        is_film_purged=image.film_purged_at is not None,
        is_withdrawn=withdrawn,
        received_at=image.received_at,
        outcome=result.outcome.value if result else None,
        reason=result.reason_code if result else None,
        label=result.label.value if result and result.label else None,
        probability=result.probability if result else None,
        flags=result.flags if result else (),
        engine=result.engine if result else None,
        model=label_of(model) if model else None,
        model_digest=model.digest if model else None,
    )


def verdicts_of(session: Session, key: StudyKey) -> list[Row]:
    """What readers said of a study, the newest first."""
    view = ASSESSMENTS.c
    statement = select(ASSESSMENTS).where(view.study_uid == key.study_uid, view.side == key.side)
    return [dict(row) for row in session.execute(statement.order_by(view.assessment_id.desc())).mappings()]


def studies_between(session: Session, since: datetime, until: datetime) -> Iterator[Row]:
    """The studies whose first object came in [since, until), in that order; few rows are held at once."""
    came = WORKLIST.c.received_at
    statement = (
        select(*(WORKLIST.c[name] for name in _COUNTED))
        .where(came >= since, came < until)
        .order_by(came)
        .execution_options(yield_per=_AT_ONCE)
    )
    for row in session.execute(statement).mappings():
        yield dict(row)


def refusals_between(session: Session, since: datetime, until: datetime) -> list[Row]:
    """What the listener and the gate refused in [since, until), by reason, the most frequent first."""
    view = REFUSED.c
    count = func.sum(view.times).label("n")
    statement = (
        select(view.source, view.reason, count)
        .where(view.at >= since, view.at < until)
        .group_by(view.source, view.reason)
        .order_by(count.desc(), view.source, view.reason)
    )
    return [dict(row) for row in session.execute(statement).mappings()]


def verdicts_between(session: Session, since: datetime, until: datetime) -> list[Row]:
    """How often readers agreed with each model, by verdicts of the days in UTC that [since, until) touches."""
    view = AGREEMENT.c
    sums = (view.n, view.n_agree, view.n_pneumonia_denied, view.n_normal_denied)
    by = (view.model_name, view.model_version)
    first, last = (moment.astimezone(UTC).date() for moment in (since, until - timedelta(microseconds=1)))
    statement = (
        select(*by, *(func.sum(column).label(column.name) for column in sums))
        .where(view.by_what == "DAY", view.day >= first, view.day <= last)
        .group_by(*by)
        .order_by(*by)
    )
    return [dict(row) for row in session.execute(statement).mappings()]
