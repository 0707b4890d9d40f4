"""Events in the order of their numbers for the export, and up to which one a destination has them.

Numbers are given before a transaction commits, so a later number can become visible before an earlier one. A reader that
remembers the last number it saw would miss the earlier event. `Reader` gives an event only when no transaction that could
still commit an earlier one is open.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, text, update

from worker.db.audit.read import newest
from worker.db.schema.sql import insert_unless_there
from worker.db.schema.study import AuditEvent, AuditExport
from worker.db.schema.types import now_utc
from worker.db.schema.views import AUDIT, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

#: The transactions that add events now: whoever has a number of the table's sequence holds this lock until its end.
_WRITERS = text(
    """
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation = CAST('audit_event' AS regclass)
    """
)


class Reader:
    """Reads events in order for one process, from sessions that only read."""

    def __init__(self, reads: sessionmaker[Session]) -> None:
        self._reads = reads
        self._settled = 0
        #: A number, and the transactions that may still commit events up to it.
        self._awaited: tuple[int, frozenset[str]] | None = None

    def after(self, last: int, limit: int) -> list[Row]:
        """The next events after a number, none of which can get a predecessor any more; rows of the view `audit`."""
        with self._reads() as session:
            if session.get_bind().dialect.name == "sqlite":
                # A transaction that writes has the file to itself until its end.
                self._settled = newest(session)
            else:
                self._settle(session)
            rows = select(AUDIT).where(AUDIT.c.event_id > last, AUDIT.c.event_id <= self._settled)
            found = session.execute(rows.order_by(AUDIT.c.event_id).limit(limit)).mappings()
            return [dict(row) for row in found]

    def _settle(self, session: Session) -> None:
        """Wait, over several calls, for the transactions that were open when a number was seen; each statement looks anew."""
        until, awaited = self._awaited or (newest(session), None)
        open_now = frozenset(session.scalars(_WRITERS))
        left = open_now if awaited is None else awaited & open_now
        if left:
            self._awaited = (until, left)
        else:
            self._settled, self._awaited = until, None


def sent_until(session: Session, destination: str) -> int:
    """The number of the last event that a destination has; 0 for a new one, which is noted."""
    first = {"destination": destination, "last_event_id": 0, "at": now_utc()}
    insert_unless_there(session, AuditExport, [first], "destination")
    found = select(AuditExport.last_event_id).where(AuditExport.destination == destination)
    return session.execute(found).scalar_one()


def claim(session: Session, destination: str) -> int | None:
    """The last event that a destination has, held against other senders until the transaction ends.

    None where another process sends to it now. SQLite has no such lock: there it is `sending`.
    """
    found = select(AuditExport.last_event_id).where(AuditExport.destination == destination)
    return session.execute(found.with_for_update(skip_locked=True)).scalar_one_or_none()


@contextmanager
def sending(engine: Engine, destination: str) -> Iterator[bool]:
    """Hold a destination against other senders on the same SQLite database; False where another one holds it.

    By a lock on a file beside the database, which ends with its holder, however that ends. Senders that share the
    database share its folder: SQLite's own locks lie there too.
    """
    path = f"{engine.url.database}-audit-{hashlib.sha256(destination.encode()).hexdigest()[:16]}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def note_sent(session: Session, destination: str, event_id: int) -> None:
    """Note that a destination has every event up to this one."""
    session.execute(
        update(AuditExport)
        .where(AuditExport.destination == destination, AuditExport.last_event_id < event_id)
        .values(last_event_id=event_id, at=now_utc())
        .execution_options(synchronize_session=False)
    )


def destinations(session: Session) -> Sequence[Row]:
    """Every destination with its last event, when that was sent, and how many events it lacks."""
    waiting = select(func.count()).where(AuditEvent.id > AuditExport.last_event_id).scalar_subquery()
    columns = (AuditExport.destination, AuditExport.last_event_id, AuditExport.at, waiting.label("waiting"))
    return [dict(row) for row in session.execute(select(*columns).order_by(AuditExport.destination)).mappings()]


def forget(session: Session, destination: str) -> bool:
    """Forget a destination, so that it no longer keeps events from being purged; False for an unknown one."""
    gone = delete(AuditExport).where(AuditExport.destination == destination).returning(AuditExport.id)
    return session.execute(gone).first() is not None
