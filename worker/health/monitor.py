"""The loop in which a process runs its own probes and writes the findings to SQL."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

from worker.db.answers import inboxes
from worker.db.read import probes
from worker.db.read.probes import Finding, Probe
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import Level
from worker.health import checks
from worker.logs import error_class
from worker.loops import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session, sessionmaker


logger = logging.getLogger(__name__)

EVERY_S = 10.0


def seldom(check: Callable[[], Finding], every_s: float) -> Callable[[], Finding]:
    """An expensive check: it runs every ``every_s`` seconds and repeats its last finding in between."""
    last: list[tuple[float, Finding]] = []

    def checked() -> Finding:
        now = time.monotonic()
        if not last or now - last[0][0] >= every_s:
            last[:] = [(now, check())]
        return last[0][1]

    return checked


def _found(check: Callable[[], Finding]) -> Finding | None:
    """The finding of a check; None where the check itself failed, so that the others go on."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - the turn of a loop: one check must not stop the others
        logger.warning("a probe failed", extra={"action": "probe_failed", "cause": error_class(error)})
        return None


def _blind(count: int) -> Finding:
    level = Level.FAIL if count else Level.OK
    return Finding(Probe.MONITOR, level, count, f"{count} probes failed themselves: the log says why." if count else "")


class Monitor(Loop):
    """Runs this process's probes every ten seconds; `status` only reads what it wrote, so `status` is fast."""

    name = "monitor"

    def __init__(
        self,
        kind: str,
        sessions: sessionmaker[Session],
        checks: Sequence[Callable[[], Finding]],
        watched: Sequence[Loop],
    ) -> None:
        super().__init__(EVERY_S)
        self.source = f"{kind} {socket.gethostname()}:{os.getpid()}"
        self._sessions = sessions
        self._checks = checks
        self._watched = watched

    def turn(self) -> bool:
        """Run all probes, then write the findings in one transaction; their presence shows that the database takes writes."""
        checked = [_found(check) for check in self._checks]
        found = [finding for finding in checked if finding]
        found.append(_blind(len(checked) - len(found)))
        failing = {loop.name: (loop.failures, loop.cause) for loop in self._watched if loop.failures}
        found.append(checks.loops(failing))

        def work(session: Session) -> None:
            clock = checks.clock(time.time() - inboxes.clock(session) / 1000)
            probes.record(session, self.source, [*found, clock])

        in_transaction(self._sessions, work, is_synced=False)
        return False

    def sign_off(self) -> None:
        """Delete the rows at an orderly end."""
        with self._sessions.begin() as session:
            probes.forget(session, self.source)
