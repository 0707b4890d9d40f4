"""Events for people, from the view `audit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from worker.db.schema.study import AuditEvent
from worker.db.schema.views import AUDIT, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events, the newest first; None and empty: any."""

    limit: int
    since: datetime | None = None
    study_uid: str | None = None
    acts: Sequence[str] = ()
    who: str | None = None


def events(session: Session, wanted: Wanted) -> list[Row]:
    """The events wanted, the newest first."""
    statement = select(AUDIT).order_by(AUDIT.c.event_id.desc()).limit(wanted.limit)
    if wanted.since is not None:
        statement = statement.where(AUDIT.c.at >= wanted.since)
    if wanted.study_uid is not None:
        # The second condition lets the database use the index of the events that name a study.
        statement = statement.where(AUDIT.c.study_uid == wanted.study_uid, AUDIT.c.study_uid != "")
    if wanted.acts:
        statement = statement.where(AUDIT.c.act.in_(wanted.acts))
    if wanted.who is not None:
        statement = statement.where(AUDIT.c.who == wanted.who)
    return [dict(row) for row in session.execute(statement).mappings()]


def newest(session: Session) -> int:
    """The number of the newest event; 0 where there is none."""
    return session.scalar(select(func.coalesce(func.max(AuditEvent.id), 0))) or 0
