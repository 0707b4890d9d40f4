"""Make the page about a study or a period: read what is known, then write it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.db.read import assessments, queries, report
from worker.db.read.naming import StudyKey, check_one
from worker.errors import UsageError
from worker.reports.period import Period, counted, period_page
from worker.reports.study import StudyData, study_page

if TYPE_CHECKING:
    from worker.database import Database
    from worker.db.schema.views import Row
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class MadePage:
    """A page, and the rows of the worklist that it names."""

    html: str
    named: list[Row]


def page_of_study(
    settings: Settings, database: Database, study: str, side: int | None = None, *, with_map: bool = True
) -> MadePage:
    """Make the page about a study; raises `UsageError` unless exactly one matches."""
    with database.reads() as session:
        row = only(queries.study_detail(session, study), study, side)
        key = StudyKey(row["study_uid"], row["side"])
        data = StudyData(row, report.films_of(session, key), report.verdicts_of(session, key))
    return MadePage(study_page(settings, database, data, datetime.now(UTC), with_map=with_map), [row])


def page_of_period(database: Database, since: datetime, until: datetime | None = None) -> MadePage:
    """Make the page about the studies that came in [since, until); raises `UsageError` where that is no time."""
    now = datetime.now(UTC)
    end = until or now
    if end <= since:
        msg = "the period ends before it begins: --until must be later than --since, which must lie in the past"
        raise UsageError(msg)
    with database.reads() as session:
        count = counted(report.studies_between(session, since, end))
        period = Period(
            since,
            end,
            count,
            report.refusals_between(session, since, end),
            report.verdicts_between(session, since, end),
            assessments.agreement(session),
        )
    return MadePage(period_page(period, now), count.named)


def only(found: list[Row], study: str, side: int | None) -> Row:
    """The one row of those that match a name; raises `UsageError` with what to say instead."""
    of_side = [row for row in found if side in (None, row["side"])]
    check_one([StudyKey(row["study_uid"], row["side"]) for row in of_side], study, side)
    return of_side[0]
