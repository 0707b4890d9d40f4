"""The loop in which a process looks after itself, and says in SQL what it found."""

from __future__ import annotations

import logging
import os
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker import health
from worker.db import probes
from worker.db.probes import Finding, Probe
from worker.db.states import Level
from worker.db.types import now_utc
from worker.logs import error_class
from worker.loops import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session, sessionmaker


logger = logging.getLogger(__name__)

EVERY_S = 10.0


def seldom(check: Callable[[], Finding], every_s: float) -> Callable[[], Finding]:
    """A check that costs too much for every turn: in between it says again what it found."""
    last: list[tuple[float, Finding]] = []

    def checked() -> Finding:
        now = time.monotonic()
        if not last or now - last[0][0] >= every_s:
            last[:] = [(now, check())]
        return last[0][1]

    return checked


def _found(check: Callable[[], Finding]) -> Finding | None:
    """What a check found; None where it could not look, which must not silence the others."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - the turn of a loop: one check must not silence the others
        logger.warning("a probe cannot look", extra={"action": "probe_failed", "cause": error_class(error)})
        return None


def _blind(count: int) -> Finding:
    level = Level.FAIL if count else Level.OK
    return Finding(Probe.MONITOR, level, count, f"{count} probes cannot look: the log says why." if count else "")


class Monitor(Loop):
    """Runs this process's probes every ten seconds; `status` reads what it wrote, so that it is quick."""

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
        """Look, then write all of it in one transaction: that it is there says that the database takes it."""
        looked = [_found(check) for check in self._checks]
        found = [finding for finding in looked if finding]
        found.append(_blind(len(looked) - len(found)))
        failing = {loop.name: (loop.failures, loop.cause) for loop in self._watched if loop.failures}
        found.append(health.loops(failing))
        with self._sessions.begin() as session:
            moment = session.execute(select(now_utc())).scalar_one()
            found.append(health.clock((datetime.now(UTC) - moment).total_seconds()))
            probes.record(session, self.source, found)
        return False

    def sign_off(self) -> None:
        """Take the rows away at an orderly end."""
        with self._sessions.begin() as session:
            probes.forget(session, self.source)
