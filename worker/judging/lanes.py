"""Which films a worker takes next, and how many at once: urgent, routine and batch films, none of which stops another.

A *take* is what a worker claims at once, judges one by one, and records in one transaction. It holds about `TAKE_S` of
work, as long as the films before it took, and one film where one waits alone: so an idle system answers each film by
itself, and a busy one shares statements and commits. A take that lasts longer than that ends with the film in work, and
what was not begun goes back.

Half of each take of live films are the most urgent ones and half the oldest ones, so that neither stops the other: of any
two takes of one film one is the oldest. Live films go before those of re-runs, and re-runs before the shadow; but after
`LIVE_AT_ONCE` live films one film of a re-run is done, so that no stream of live films stops it. Between two films of a
re-run a worker looks for live work: so a re-run of any size delays a live film by one film at most.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from worker.db.schema.engine import reading
from worker.db.tasks.claims import claim, claim_due
from worker.db.tasks.due import Lane, due_by_lane, is_live_due
from worker.judging.pipeline import score_claims
from worker.judging.take_size import TAKE_S, TakeSize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.db.tasks.claims import Claim
    from worker.judging.pipeline import WorkerContext

#: So many live films go before each film of a re-run.
LIVE_AT_ONCE = 8


class Lanes:
    """Takes films until none is due, for one worker; `clock`: seconds of a monotonic clock."""

    def __init__(self, context: WorkerContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._reads = reading(context.sessions)
        self._clock = clock
        self._size = TakeSize()
        self._live_in_a_row = 0
        self._is_urgent_turn = True

    def work(self, budget_s: float) -> int:
        """Do what is due until nothing is, or so many seconds have passed; returns how many films were done.

        What is left then waits in SQL for the next message. The pool's limit is for one message, and must not end a film
        because of those before it.
        """
        until, done = self._clock() + budget_s, 0
        while self._clock() < until and (films := self._take()):
            done += films
        return done

    def work_on(self, task_ids: Sequence[int]) -> int:
        """Do one take of these tasks, in their order; how many of them were dealt with: done, or not claimable."""
        some = list(task_ids[: self._size.films])
        held = claim(self._context.sessions, some, self._context.claimant)
        left = {one.task_id for one in held[self._do(held, is_live=True) :]}
        return next((number for number, task_id in enumerate(some) if task_id in left), len(some))

    def _take(self) -> int:
        """Do one take; 0 where nothing is due."""
        due = self._due()
        batches = due[Lane.RERUN] + due[Lane.SHADOW]
        if self._live_in_a_row >= LIVE_AT_ONCE:
            self._live_in_a_row = 0
            if held := self._batch(due, 1):
                return self._do(held)
        # Where nothing else waits a take is as large as it may be: one claim and one commit for all of it.
        most = min(self._size.films, LIVE_AT_ONCE - self._live_in_a_row) if batches else self._size.films
        if held := self._live(_share(due[Lane.LIVE], most)):
            begun = self._do(held, is_live=True)
            self._live_in_a_row += begun
            return begun
        self._live_in_a_row = 0
        return self._do(self._batch(due, self._size.films))

    def _due(self) -> dict[Lane, int]:
        """What is due in each lane, as far as this worker could take it: a claim that finds nothing takes the write lock too."""
        with self._reads() as session:
            return due_by_lane(session, 2 * self._size.films)

    def _live(self, films: int) -> list[Claim]:
        if not films:
            return []
        half = films // 2
        urgent = films - half if self._is_urgent_turn else half
        self._is_urgent_turn = not self._is_urgent_turn
        return self._claim(Lane.LIVE, urgent, films - urgent)

    def _batch(self, due: Mapping[Lane, int], most: int) -> list[Claim]:
        for lane in (Lane.RERUN, Lane.SHADOW):
            if due[lane] and (held := self._claim(lane, _share(due[lane], most), 0)):
                return held
        return []

    def _claim(self, lane: Lane, urgent: int, oldest: int) -> list[Claim]:
        return claim_due(self._context.sessions, lane, self._context.claimant, urgent=urgent, oldest=oldest)

    def _do(self, held: Sequence[Claim], *, is_live: bool = False) -> int:
        """Do a take, or what of it fits into its time; how many films were begun."""
        if not held:
            return 0
        began = self._clock()

        def goes_on() -> bool:
            return self._clock() - began < TAKE_S and (is_live or not self._live_waits())

        begun = len(score_claims(self._context, held, goes_on))
        self._size.took(begun, self._clock() - began)
        return begun

    def _live_waits(self) -> bool:
        with self._reads() as session:
            return is_live_due(session)


def _share(due: int, most: int) -> int:
    """How many films of a lane to take: half of what is due at most, because other workers may be idle."""
    return min(most, -(-due // 2))
