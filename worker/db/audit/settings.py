"""The settings with which a process last started, as the audit trail has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from worker.db.schema.study import AuditEvent

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.db.audit.record import Actor

#: Several data folders of one machine may share a database; so many of the last events are looked through.
_LOOKED_AT = 50


def last_settings(session: Session, actor: Actor, home: str) -> dict[str, Any] | None:
    """The settings of the last start of this process with this data folder; None where the trail has none."""
    # The condition as text, as the partial index has it.
    events = (
        select(AuditEvent.detail)
        .where(text("act = 'SETTINGS_CHANGED'"), AuditEvent.who == actor.name, AuditEvent.origin == actor.origin)
        .order_by(AuditEvent.id.desc())
        .limit(_LOOKED_AT)
    )
    for detail in session.scalars(events):
        found = json.loads(detail)
        if found.get("home") == home and isinstance(found.get("settings"), dict):
            return dict(found["settings"])
    return None
