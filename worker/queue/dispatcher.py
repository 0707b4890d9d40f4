"""Step 4 of the flow: send hints for due tasks, repeat lost hints, end tasks whose lease is dead, settle complete studies.

Any number of dispatchers may run side by side: each step is a conditional UPDATE in SQL.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.db.batches import withholding
from worker.db.schema.engine import in_transaction
from worker.db.tasks import queue
from worker.db.tasks.queue import Lane
from worker.db.tasks.workers import live_workers
from worker.loops import Loop
from worker.queue.departed import ReleaseOptions, release_departed
from worker.queue.message import BATCH_QUEUE, LIVE_QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker

    from worker.queue.hints import HintPublisher
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Hints that wait in the broker per worker: enough for all films that it judges within a tick, few enough for any broker.
LIVE_HINTS_PER_WORKER = 500
#: Ids in one message of a re-run: few enough to stay far below the time limit of a message.
BATCH_CHUNK = 64
#: Ids in one message of a shadow: live work waits for that many films at most.
SHADOW_CHUNK = 8
#: Batch hints of a lane that wait in the broker per worker: enough to keep it busy, few enough not to delay a new batch.
BATCH_HINTS_PER_WORKER = 3
#: Re-runs and the shadow share a queue.
_BATCH_LANES = 2
#: Studies that are settled in one transaction: hints wait for it, and so do workers whose film is in one of them.
SETTLE_LIMIT = 50


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How often hints are repeated and when a task is given up, in milliseconds of the database's clock."""

    tick_s: float
    grace_ms: int
    grace_max_ms: int
    max_attempts: int
    silent_after_ms: int
    lease_ms: int = 60_000
    #: None: the claims of ended processes are left to their leases.
    release: ReleaseOptions | None = None

    @classmethod
    def of(cls, settings: Settings) -> DispatchOptions:
        """The options that the settings name."""
        return cls(
            tick_s=settings.tick,
            grace_ms=round(settings.hint_grace_s * 1000),
            grace_max_ms=round(settings.hint_grace_max_s * 1000),
            max_attempts=settings.max_attempts,
            silent_after_ms=settings.silent_after_ms,
            lease_ms=round(settings.lease_s * 1000),
            release=ReleaseOptions.of(settings),
        )


class Dispatcher(Loop):
    """The dispatcher's loop: one turn each tick, or at once when the registrar has new tasks.

    ``beat`` says in SQL that the listener of this process lives.
    """

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
        #: Studies that this turn settled.
        self._settled = 0

    def turn(self) -> bool:
        """Repair, settle, then publish due hints; the broker is asked first, so that a hint it refuses is not counted as sent.

        The next turn follows at once where more studies than fit into one were complete.
        """
        self._settled = 0
        self.each(*self._repairs, self._hint)
        return self._settled >= SETTLE_LIMIT

    def _hint(self) -> None:
        self._publisher.check()
        # An empty broker has lost its hints: all of them are due again after the first grace.
        held = self._publisher.held()
        self._grace_max_ms = self._options.grace_ms if held.is_empty else self._options.grace_max_ms
        with self._sessions.begin() as session:
            workers = max(1, live_workers(session, self._options.silent_after_ms))
        # What waits in the broker is counted there: hints that nobody takes are repeated, and must not pile up.
        room = max(0, workers * LIVE_HINTS_PER_WORKER - held.live)
        live = self._take(Lane.LIVE, room) if room else []
        for task_id in live:
            self._publisher.publish([task_id], LIVE_QUEUE)
        batch = shadow = 0
        if held.batch < workers * BATCH_HINTS_PER_WORKER * _BATCH_LANES:
            batch = self._publish_batch(Lane.RERUN, BATCH_CHUNK, workers)
            shadow = self._publish_batch(Lane.SHADOW, SHADOW_CHUNK, workers)
        if live or batch or shadow:
            counts = {"live": len(live), "batch": batch, "shadow": shadow}
            logger.info("hints sent", extra={"action": "hint", **counts})

    def _publish_batch(self, lane: Lane, chunk: int, workers: int) -> int:
        tasks = self._take_batch(lane, chunk, workers)
        for start in range(0, len(tasks), chunk):
            self._publisher.publish(tasks[start : start + chunk], BATCH_QUEUE)
        return len(tasks)

    def repair(self) -> None:
        """End tasks whose last attempt died and settle the studies that became complete."""
        self.each(*self._repairs)

    @property
    def _repairs(self) -> tuple[Callable[[], None], ...]:
        # Released before they are buried: their files know why they ended.
        return self._rewind, self._release, self._bury, self._settle, self._follow

    def _rewind(self) -> None:
        with self._sessions.begin() as session:
            rewound = queue.rewind(session, self._options.lease_ms)
        if rewound:
            logger.warning("the database's clock was set back", extra={"action": "rewind", "rows": rewound})

    def _release(self) -> None:
        if self._options.release:
            release_departed(self._sessions, self._options.release)

    def _bury(self) -> None:
        with self._sessions.begin() as session:
            buried = queue.fail_lost_tasks(session, self._options.max_attempts)
        if buried:
            logger.warning("tasks given up after their last attempt", extra={"action": "bury", "tasks": buried})

    def _settle(self) -> None:
        """Settle; first the listener of this process says that it lives, since it may hold objects of these studies."""
        if self._beat:
            self._beat()
        with self._sessions.begin() as session:
            self._settled = queue.settle_studies(session, SETTLE_LIMIT)
        if self._settled:
            logger.info("studies settled", extra={"action": "settle", "studies": self._settled})

    def _follow(self) -> None:
        """Continue the work of a command that suspended or resumed a model and was ended before it was done."""
        left = in_transaction(self._sessions, withholding.follow)
        if left is not None:
            logger.info("studies follow a suspension", extra={"action": "follow", "results_left": left})

    def _take(self, lane: Lane, limit: int) -> list[int]:
        with self._sessions.begin() as session:
            return queue.due_tasks(
                session,
                limit=limit,
                grace_ms=self._options.grace_ms,
                grace_max_ms=self._grace_max_ms,
                lane=lane,
            )

    def _take_batch(self, lane: Lane, chunk: int, workers: int) -> list[int]:
        with self._sessions.begin() as session:
            room = workers * BATCH_HINTS_PER_WORKER * chunk - queue.outstanding_hints(
                session, lane, grace_ms=self._options.grace_ms, grace_max_ms=self._grace_max_ms
            )
        return self._take(lane, room) if room > 0 else []
