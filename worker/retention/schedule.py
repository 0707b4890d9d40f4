"""The loop in which a listener purges by the rules of the settings; of several listeners one does so at a time."""

from __future__ import annotations

import logging
import socket
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dicom_io.inbox.store import StoreAway
from worker.db.audit.record import Actor
from worker.db.retention import files, runs
from worker.db.schema.states import HeldFile
from worker.health import checks
from worker.loops import Loop
from worker.retention.policy import FilePolicy, is_hour
from worker.retention.purge import purge
from worker.retention.removing import free_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.database import Database
    from worker.db.read.probes import Finding
    from worker.settings import Settings

logger = logging.getLogger(__name__)

TICK_S = 60.0
#: Age moves slowly. Free space is looked at in every turn.
BY_AGE_EVERY = timedelta(hours=1)
#: `purge.who` of purges that no person ordered.
SCHEDULE = "schedule"


def _now() -> datetime:
    return datetime.now().astimezone()


class Retention(Loop):
    """Purges by age once an hour, and for free space whenever the disk of the store has too little."""

    name = "retention"

    def __init__(self, settings: Settings, database: Database, now: Callable[[], datetime] = _now) -> None:
        super().__init__(TICK_S)
        self._settings = settings
        self._database = database
        self._now = now
        self._policy = FilePolicy.of(settings)
        #: Whether the disk has too little free space and no rule lets more go.
        self._is_exhausted = False

    def finding(self) -> Finding:
        """The probe: whether the rules let enough go."""
        free = self._free()
        return checks.retention(free, self._policy.free_bytes, is_exhausted=self._is_exhausted)

    def turn(self) -> bool:
        """Purge what is due, unless another listener or a command does so."""
        if not (self._policy.is_on and is_hour(self._settings.purge_hours, self._now())):
            return False
        is_short = self._free() < self._policy.free_bytes
        if self._has_work(is_short=is_short):
            try:
                report = purge(
                    self._settings,
                    self._database,
                    self._policy,
                    actor=Actor.process(SCHEDULE),
                    why=f"by the settings of {socket.gethostname()}",
                    stopping=self._stop.is_set,
                )
            except runs.PurgeRuns:
                return False
            is_short = report.short > 0
        self._is_exhausted = is_short
        return False

    def _free(self) -> int:
        """Free space of the store's disk; 0 where nothing is wanted or the store is not there yet."""
        try:
            return free_bytes(self._settings.store) if self._policy.free_bytes else 0
        except StoreAway:
            return 0

    def _has_work(self, *, is_short: bool) -> bool:
        """Whether a purge would take anything; a purge without work would only add a row."""
        with self._database.reads() as session:
            now = files.clock(session)
            last = runs.last_started(session, SCHEDULE)
            rules = self._policy.by_age if last is None or now - last >= BY_AGE_EVERY else []
            if is_short:
                rules = [*rules, *((kind, self._policy.space) for kind in HeldFile)]
            wanted = any(files.oldest(session, kind, rule, now, None, 1) for kind, rule in rules)
            return wanted or bool(files.to_remove(session, 0, 1))
