"""The audit trail sent on: new events to a syslog receiver or a file, resumed where the last process stopped.

SQL is the spool: events stay there, with one row for each destination that says up to which event it has them.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any, NoReturn

from worker.auditing.message import parts_of, syslog_message
from worker.auditing.syslog import deliver
from worker.db.audit.export import Reader, claim, note_sent, sending, sent_until
from worker.db.audit.objects import with_objects
from worker.errors import UsageError
from worker.loops import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.orm import Session

    from dicom_io.network.tls import TlsFiles
    from worker.addresses import SyslogReceiver
    from worker.auditing.processes import ProcessTrail
    from worker.database import Database
    from worker.db.schema.views import Row

logger = logging.getLogger(__name__)

#: Events of one batch, and so of one connection.
BATCH = 200
TICK_S = 5.0
#: Between two looks at transactions that are open.
POLL_S = 0.05


class Forwarder:
    """Sends what a destination does not have yet, in order and at least once."""

    def __init__(self, database: Database, destination: str, send: Callable[[Sequence[Row]], None]) -> None:
        self._database = database
        self._destination = destination
        self._send = send
        self._reader = Reader(database.reads)
        self._is_waiting = False

    def step(self) -> int:
        """Send one batch; how many events that was. Raises what sending raises, and UsageError beside another sender."""
        with self._database.sessions.begin() as session:
            last = sent_until(session, self._destination)
        events = self._events(last)
        self._is_waiting = not events
        if not events:
            return 0
        if self._database.engine.dialect.name == "sqlite":
            with sending(self._database.engine, self._destination) as is_ours:
                return self._send_locked() if is_ours else self._beside_another()
        with self._database.sessions.begin() as session:
            return self._send_held(session, last, events)

    def _events(self, last: int) -> list[Row]:
        """The next events with what they name."""
        events = self._reader.after(last, BATCH)
        with self._database.reads() as session:
            return with_objects(session, events)

    def send_until(self, last: int) -> int:
        """Send every event up to a number, and wait for transactions that may add earlier ones; how many were sent."""
        sent = 0
        while True:
            sent += self.step()
            with self._database.sessions.begin() as session:
                if sent_until(session, self._destination) >= last:
                    return sent
            if not self._is_waiting:
                continue
            time.sleep(POLL_S)

    def _send_locked(self) -> int:
        """Send under the lock of SQLite's file: a transaction here would keep every writer waiting for the receiver."""
        with self._database.sessions.begin() as session:
            # Read again: another sender may have sent since.
            last = sent_until(session, self._destination)
        events = self._events(last)
        if events:
            self._send(events)
            with self._database.sessions.begin() as session:
                note_sent(session, self._destination, events[-1]["event_id"])
        return len(events)

    def _beside_another(self) -> NoReturn:
        msg = f"another process is sending the audit trail to {self._destination}"
        raise UsageError(msg)

    def _send_held(self, session: Session, last: int, events: Sequence[Row]) -> int:
        held = claim(session, self._destination)
        if held is None:
            self._beside_another()
        left = [event for event in events if event["event_id"] > max(last, held)]
        if left:
            self._send(left)
            note_sent(session, self._destination, left[-1]["event_id"])
        return len(left)


def to_syslog(receiver: SyslogReceiver, files: TlsFiles) -> Callable[[Sequence[Row]], None]:
    """A function that sends events to a syslog receiver."""
    return lambda events: deliver(
        receiver, files, (syslog_message(part) for event in events for part in parts_of(event))
    )


def to_file(path: Path) -> Callable[[Sequence[Row]], None]:
    """A function that appends events to a file of JSON lines, readable by its owner alone, and makes them durable."""

    def send(events: Sequence[Row]) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            _cut_torn_line(file)
            file.seek(0, os.SEEK_END)
            for event in events:
                file.writelines(json_line(part).encode("utf-8") for part in parts_of(event))
            file.flush()
            os.fsync(file.fileno())

    return send


def _cut_torn_line(file: Any) -> None:
    """Remove a last line that a killed process left without its end; its event comes again."""
    size = end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 4096)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        file.truncate(end)


def json_line(event: Row) -> str:
    """An event, a row of the view `audit` with its `objects`, as one line of JSON."""
    document = {**event, "at": _iso(event["at"]), "detail": json.loads(event["detail"])}
    return json.dumps(document, separators=(",", ":")) + "\n"


def _iso(at: datetime) -> str:
    return at.isoformat()


class AuditLoop(Loop):
    """The audit of a listener's process: its start, and the events for the syslog receiver where one is set."""

    name = "audit"

    def __init__(self, trail: ProcessTrail, forwarder: Forwarder | None) -> None:
        super().__init__(TICK_S)
        self._trail = trail
        self._forwarder = forwarder

    def turn(self) -> bool:
        """Record the start once; send one batch. True while more may wait."""
        self._trail.note_start()
        if self._forwarder is None:
            return False
        try:
            return self._forwarder.step() == BATCH
        except UsageError:
            # Another listener of this database sends.
            return False
