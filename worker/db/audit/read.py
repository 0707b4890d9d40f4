"""Events for people, from the view `audit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from worker.db.schema.study import AuditEvent, AuditObject
from worker.db.schema.views import AUDIT, AUDIT_OBJECTS, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events, the newest first; None and empty: any."""

    limit: int
    since: datetime | None = None
    #: Of its own, or among several that the event names; so is the patient.
    study_uid: str | None = None
    patient_key: str | None = None
    acts: Sequence[str] = ()
    who: str | None = None


def events(session: Session, wanted: Wanted) -> list[Row]:
    """The events wanted, the newest first."""
    statement = select(AUDIT).order_by(AUDIT.c.event_id.desc()).limit(wanted.limit)
    if wanted.since is not None:
        statement = statement.where(AUDIT.c.at >= wanted.since)
    if wanted.study_uid is not None:
        # The second condition lets the database use the index of the events that name a study.
        own = select(AuditEvent.id).where(AuditEvent.study_uid == wanted.study_uid, AuditEvent.study_uid != "")
        named = select(AuditObject.event_id).where(AuditObject.study_uid == wanted.study_uid)
        statement = statement.where(AUDIT.c.event_id.in_(own.union_all(named)))
    if wanted.patient_key is not None:
        own = select(AuditEvent.id).where(AuditEvent.patient_key == wanted.patient_key, AuditEvent.patient_key != "")
        named = select(AuditObject.event_id).where(AuditObject.patient_key == wanted.patient_key)
        statement = statement.where(AUDIT.c.event_id.in_(own.union_all(named)))
    if wanted.acts:
        statement = statement.where(AUDIT.c.act.in_(wanted.acts))
    if wanted.who is not None:
        statement = statement.where(AUDIT.c.who == wanted.who)
    return [dict(row) for row in session.execute(statement).mappings()]


def event(session: Session, number: int) -> tuple[Row | None, list[Row]]:
    """One event, and every study and patient that it names; None and nothing where there is none."""
    found = session.execute(select(AUDIT).where(AUDIT.c.event_id == number)).mappings().one_or_none()
    named = select(AUDIT_OBJECTS).where(AUDIT_OBJECTS.c.event_id == number)
    rows = session.execute(named.order_by(AUDIT_OBJECTS.c.study_uid, AUDIT_OBJECTS.c.side)).mappings()
    return (dict(found) if found else None), [dict(row) for row in rows]


def newest(session: Session) -> int:
    """The number of the newest event; 0 where there is none."""
    return session.scalar(select(func.coalesce(func.max(AuditEvent.id), 0))) or 0
