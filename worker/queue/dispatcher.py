"""Step 4 of the flow: send hints while work is due, end tasks whose lease is dead, settle complete studies.

Any number of dispatchers may run side by side: each step is a conditional UPDATE in SQL.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.db.batches import opening, withholding
from worker.db.schema.engine import in_transaction, reading
from worker.db.tasks import queue
from worker.db.tasks.due import count_due
from worker.db.tasks.workers import live_workers
from worker.loops import Loop
from worker.queue.departed import ReleaseOptions, release_departed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker

    from worker.queue.hints import HintPublisher
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Studies that are settled in one transaction: hints wait for it, and so do workers whose film is in one of them.
SETTLE_LIMIT = 50
#: What is seldom needed is looked for in each such turn, and every so many seconds where turns are rare.
SELDOM_TURNS, SELDOM_S = 5, 10.0


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How often a turn is made and when a task is given up, in milliseconds of the database's clock."""

    tick_s: float
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
            max_attempts=settings.max_attempts,
            silent_after_ms=settings.silent_after_ms,
            lease_ms=round(settings.lease_s * 1000),
            release=ReleaseOptions.of(settings),
        )


class Dispatcher(Loop):
    """The dispatcher's loop: one turn each tick, and hints alone at once when the registrar has new tasks.

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
        self._reads = reading(sessions)
        self._publisher = publisher
        self._options = options
        self._beat = beat
        #: Studies that the last turn settled.
        self._settled = 0
        #: Whether the last turn gave tasks to a re-run whose command is gone.
        self._is_opening = False
        self._repaired = self._looked = -math.inf
        #: How many workers there were when they were last counted; 0: count them.
        self._workers = 0

    def turn(self) -> bool:
        """Repair and settle, where the last time was a while ago, then send hints.

        The next turn follows at once where more studies than fit into one were complete, or a re-run is opened.
        """
        now = time.monotonic()
        if self._has_more or now - self._repaired >= self._options.tick_s / 2:
            repairs = self._due_repairs(now)
            self._repaired, self._settled, self._is_opening, self._workers = now, 0, False, 0
            # Also where nothing is due a broker that takes no hints is noticed.
            self.each(*repairs, self._publisher.check, self._hint)
        else:
            self._hint()
        return self._has_more

    @property
    def _has_more(self) -> bool:
        """Whether more studies may be complete than fitted into the last turn, or a re-run may have more films."""
        return self._settled >= SETTLE_LIMIT or self._is_opening

    def _hint(self) -> None:
        """Let a hint wait for each worker, as long as so much work is due."""
        waiting = self._publisher.waiting()
        if 0 < self._workers <= waiting:
            # Amid a burst: who takes one of them does what is due by then.
            return
        with self._reads() as session:
            self._workers = max(1, live_workers(session, self._options.silent_after_ms))
            # A worker whose hint is lost waits for the next turn; one that takes a hint without work goes on at once.
            hints = count_due(session, self._workers) - waiting
        for _ in range(hints):
            self._publisher.publish()
        if hints > 0:
            logger.info("hints sent", extra={"action": "hint", "count": hints})

    def repair(self) -> None:
        """End tasks whose last attempt died and settle the studies that became complete."""
        self.each(*self._repairs)

    @property
    def _repairs(self) -> tuple[Callable[[], None], ...]:
        # Released before they are buried: their files know why they ended.
        return self._rewind, self._release, self._bury, self._settle, self._follow, self._open

    def _due_repairs(self, now: float) -> tuple[Callable[[], None], ...]:
        """All repairs where the last time was long ago, else those that a study may wait for in each turn."""
        tick_s = self._options.tick_s
        if not self._is_opening and now - self._looked < min(SELDOM_TURNS * tick_s, SELDOM_S) - tick_s / 2:
            return self._release, self._settle
        self._looked = now
        return self._repairs

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

    def _open(self) -> None:
        """Go on with a re-run whose command was ended before the batch had all its tasks."""
        state = in_transaction(self._sessions, opening.go_on_without_command)
        self._is_opening = state is not None and state.left > 0
        if state is not None:
            logger.info("a re-run is opened", extra={"action": "open", "batch": state.batch_id, "left": state.left})
