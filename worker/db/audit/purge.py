"""Remove old audit events: the only way past the guard of the table, and itself an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, CursorResult, and_, delete, func, or_, select, text

from worker.db.audit.codes import Act
from worker.db.audit.record import record
from worker.db.schema.study import AuditEvent, AuditExport

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from worker.db.audit.record import Actor

#: The trigger of SQLite that forbids it; migration 0008.
_GUARD = "audit_event_no_delete"


@dataclass(frozen=True, slots=True)
class AuditCutoffs:
    """Events from before the one moment go; those that concern a person only from before the other."""

    general: datetime
    person: datetime

    @classmethod
    def at(cls, moment: datetime) -> AuditCutoffs:
        """The same for all events."""
        return cls(moment, moment)


def purge_audit(
    session: Session, before: AuditCutoffs, actor: Actor, *, why: str = "", below_floor: bool = False
) -> int:
    """Delete the events before these moments, and record that as an event; returns how many.

    Events that a destination of the export has not received yet stay, whatever their age. On PostgreSQL the session must
    be that of the owner (`worker.database.owner_engine`): any other account is refused by its privileges. The caller keeps
    the site's floor for retention; `below_floor`: that floor was undercut by name.
    """
    due = _is_due(session, before)
    if session.get_bind().dialect.name == "postgresql":
        setting = text("SELECT set_config('auscult.audit_purge_before', :moment, true)")
        session.execute(setting, {"moment": max(before.general, before.person).isoformat()})
        deleted = _rows(session.execute(delete(AuditEvent).where(due)))
        session.execute(setting, {"moment": ""})
    else:
        guard = session.execute(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": _GUARD}).scalar_one()
        session.execute(text(f"DROP TRIGGER {_GUARD}"))
        deleted = _rows(session.execute(delete(AuditEvent).where(due)))
        session.connection().exec_driver_sql(guard)
    detail = {
        "before": before.general.isoformat(),
        "of_persons_before": before.person.isoformat(),
        "events": deleted,
        "below_floor": below_floor,
        "why": why,
    }
    record(session, Act.AUDIT_PURGED, actor, detail=detail)
    return deleted


def count_due(session: Session, before: AuditCutoffs) -> int:
    """How many events a purge would delete."""
    return session.execute(select(func.count()).select_from(AuditEvent).where(_is_due(session, before))).scalar_one()


def _is_due(session: Session, before: AuditCutoffs) -> ColumnElement[bool]:
    concerns_a_person = or_(AuditEvent.study_uid != "", AuditEvent.patient_key != "", AuditEvent.sop_uid != "")
    old = and_(AuditEvent.at < before.general, or_(~concerns_a_person, AuditEvent.at < before.person))
    unsent = session.scalar(select(func.min(AuditExport.last_event_id)))
    return old if unsent is None else old & (AuditEvent.id <= unsent)


def _rows(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
