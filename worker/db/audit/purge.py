"""Remove old audit events: the only way past the guard of the table, and itself an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import CursorResult, delete, func, select, text

from worker.db.audit.codes import Act
from worker.db.audit.record import record
from worker.db.schema.study import AuditEvent, AuditExport, AuditObject

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from worker.db.audit.record import Actor

#: The triggers of SQLite that forbid it; migrations 0008 and 0015.
_GUARDS = ("audit_event_no_delete", "audit_object_no_delete")


def purge_audit(session: Session, before: datetime, actor: Actor) -> int:
    """Delete the events before a moment with what they name, and record that as an event; returns how many events.

    Events that a destination of the export has not received yet stay, whatever their age. On PostgreSQL the session must
    be that of the owner (`worker.database.owner_engine`): any other account is refused by its privileges. The caller keeps
    the site's floor for retention.
    """
    unsent = session.scalar(select(func.min(AuditExport.last_event_id)))
    old = AuditEvent.at < before
    due = old if unsent is None else old & (AuditEvent.id <= unsent)
    if session.get_bind().dialect.name == "postgresql":
        setting = text("SELECT set_config('auscult.audit_purge_before', :moment, true)")
        session.execute(setting, {"moment": before.isoformat()})
        deleted = _delete(session, due)
        session.execute(setting, {"moment": ""})
    else:
        found = text("SELECT sql FROM sqlite_master WHERE name = :name")
        guards = [session.execute(found, {"name": name}).scalar_one() for name in _GUARDS]
        for name in _GUARDS:
            session.execute(text(f"DROP TRIGGER {name}"))
        deleted = _delete(session, due)
        for guard in guards:
            session.connection().exec_driver_sql(guard)
    record(session, Act.AUDIT_PURGED, actor, detail={"before": before.isoformat(), "events": deleted})
    return deleted


def _delete(session: Session, due: ColumnElement[bool]) -> int:
    """Delete these events, first what they name, which the guard tells by its event; returns how many events."""
    named = delete(AuditObject).where(AuditObject.event_id.in_(select(AuditEvent.id).where(due)))
    session.execute(named.execution_options(synchronize_session=False))
    return _rows(session.execute(delete(AuditEvent).where(due)))


def _rows(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
