"""Step 4 of the flow: due tasks become hints, lost ones are repeated, dead leases buried, complete studies settled.

Any number of dispatchers may run beside each other: each step is a conditional UPDATE in SQL.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.db import queries, queue
from worker.db.queue import Lane
from worker.hints import BATCH_QUEUE, LIVE_QUEUE, HintPublisher
from worker.loops import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker

logger = logging.getLogger(__name__)

LIVE_LIMIT = 500
#: Ids in one message of a re-run: few enough that a message stays far below the time limit.
BATCH_CHUNK = 64
#: Ids in one message of a shadow: live work that comes meanwhile waits for that many films at most.
SHADOW_CHUNK = 8
#: Batch hints that wait in the broker per worker: enough to keep it busy, few enough that a new batch is not late.
BATCH_HINTS_PER_WORKER = 3
SETTLE_LIMIT = 500


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How often hints are repeated and when a task is given up, in milliseconds of the database's clock."""

    tick_s: float
    grace_ms: int
    grace_max_ms: int
    max_attempts: int
    silent_after_ms: int
    lease_ms: int = 60_000


class Dispatcher(Loop):
    """The dispatcher's loop: one turn each tick, or at once when the registrar has new tasks."""

    name = "dispatcher"

    def __init__(
        self,
        sessions: sessionmaker[Session],
        publisher: HintPublisher,
        options: DispatchOptions,
        beat: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(options.tick_s)
        self._sessions = sessions
        self._publisher = publisher
        self._options = options
        self._beat = beat
        self._grace_max_ms = options.grace_max_ms

    def turn(self) -> bool:
        """Mend, settle, then publish what is due; the broker is asked first, so that no hint is counted as sent in vain."""
        is_full = False

        def hint() -> None:
            nonlocal is_full
            is_full = self._hint()

        self.each(*self._mends, hint)
        return is_full

    def _hint(self) -> bool:
        self._publisher.check()
        # A broker that holds nothing has lost what it was told: after the first grace all of it is due again.
        self._grace_max_ms = self._options.grace_ms if self._publisher.is_empty() else self._options.grace_max_ms
        live = self._take(Lane.LIVE, LIVE_LIMIT)
        for task_id in live:
            self._publisher.publish([task_id], LIVE_QUEUE)
        batch = self._publish_batch(Lane.RERUN, BATCH_CHUNK)
        shadow = self._publish_batch(Lane.SHADOW, SHADOW_CHUNK)
        if live or batch or shadow:
            counts = {"live": len(live), "batch": batch, "shadow": shadow}
            logger.info("hints sent", extra={"action": "hint", **counts})
        return len(live) == LIVE_LIMIT

    def _publish_batch(self, lane: Lane, chunk: int) -> int:
        tasks = self._take_batch(lane, chunk)
        for start in range(0, len(tasks), chunk):
            self._publisher.publish(tasks[start : start + chunk], BATCH_QUEUE)
        return len(tasks)

    def mend(self) -> None:
        """Bury tasks whose last attempt died and settle the studies that became complete."""
        self.each(*self._mends)

    @property
    def _mends(self) -> tuple[Callable[[], None], ...]:
        return self._rewind, self._bury, self._settle

    def _rewind(self) -> None:
        with self._sessions.begin() as session:
            rewound = queue.rewind(session, self._options.lease_ms)
        if rewound:
            logger.warning("the database's clock was set back", extra={"action": "rewind", "rows": rewound})

    def _bury(self) -> None:
        with self._sessions.begin() as session:
            buried = queue.bury_lost(session, self._options.max_attempts)
        if buried:
            logger.warning("tasks given up after their last attempt", extra={"action": "bury", "tasks": buried})

    def _settle(self) -> None:
        """Settle; the listener of this process says first that it lives, for it may hold objects of these studies."""
        if self._beat:
            self._beat()
        with self._sessions.begin() as session:
            settled = queue.settle_studies(session, SETTLE_LIMIT)
        if settled:
            logger.info("studies settled", extra={"action": "settle", "studies": settled})

    def _take(self, lane: Lane, limit: int) -> list[int]:
        with self._sessions.begin() as session:
            return queue.due_tasks(
                session,
                limit=limit,
                grace_ms=self._options.grace_ms,
                grace_max_ms=self._grace_max_ms,
                lane=lane,
            )

    def _take_batch(self, lane: Lane, chunk: int) -> list[int]:
        with self._sessions.begin() as session:
            workers = max(1, queries.live_workers(session, self._options.silent_after_ms))
            room = workers * BATCH_HINTS_PER_WORKER * chunk - queue.outstanding_hints(
                session, lane, grace_ms=self._options.grace_ms, grace_max_ms=self._grace_max_ms
            )
        return self._take(lane, room) if room > 0 else []
