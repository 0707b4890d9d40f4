"""The order of work within one message: urgent, routine and batch films, none of which stops another.

Messages name live films in the order of their age. Before the film that a message names two others are done, where they
are due: the most urgent one, and the oldest one (a retry, or a film whose hint was lost). So an urgent film waits for three
films of each worker at most.

A message of a re-run names up to 64 tasks. Before each of them a worker does live work that is due, at most
`LIVE_AT_ONCE` films, half of them the most urgent and half the oldest ones: so a re-run of any size delays a live film
by one film at most, only the film in work is charged an attempt, and no stream of live films stops a re-run. Messages of
both lanes are taken in turn.

Of any `LIVE_AT_ONCE` + 1 films that a worker does while live work waits, at least one is the oldest that was due. A film
with N older ones before it is therefore judged within (N + 1) times as many films.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from worker.db.schema.engine import in_transaction
from worker.db.tasks.queue import due_live, forget_hints, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.orm import Session, sessionmaker

#: So many live films go before each film of a re-run.
LIVE_AT_ONCE = 8


def in_order(
    sessions: sessionmaker[Session],
    task_ids: Sequence[int],
    *,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[int]:
    """Iterate over the tasks to do for a message, each when the one before is done.

    Parameters
    ----------
    sessions
        Sessions that write.
    task_ids
        The tasks that the message names. A message whose first task is not due any more, because it was done before
        its turn, is over with one statement.
    budget_s
        After so many seconds the rest of the message goes back to SQL, where the dispatcher finds it: the hard limit
        of time is for one message, and must not end a film because of those before it.
    clock
        Seconds of a monotonic clock.

    Yields
    ------
    int
        The number of a task; another worker may have done it meanwhile.
    """
    began = clock()
    for position, task_id in enumerate(task_ids):
        if position and clock() - began > budget_s:
            in_transaction(sessions, partial(forget_hints, task_ids=task_ids[position:]))
            return
        found = in_transaction(sessions, partial(named, task_id=task_id))
        if found is None:
            continue
        yield from found.before
        if not found.is_live:
            yield from in_transaction(sessions, partial(due_live, limit=LIVE_AT_ONCE))
        yield task_id
