"""The order of work within one message: live films go before the rest of a re-run, and what takes too long goes back.

A message of a re-run names up to 64 tasks. Between two of them a worker does the live work that is due, so a re-run of
any size delays a live film by one film at most, and only the film in work is charged an attempt. After each batch film
at most `LIVE_AT_ONCE` live films follow, so that a steady stream of live films does not stop a re-run.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from worker.db.schema.engine import in_transaction
from worker.db.tasks.queue import due_live, forget_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.orm import Session, sessionmaker

#: So many live films go between two films of a message.
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
        The tasks that the message names; a message of one live task costs no statement.
    budget_s
        After so many seconds the rest of the message goes back to SQL, where the dispatcher finds it. The pool's limit is
        for one message, and must not end a film because of those before it; live films count too.
    clock
        Seconds of a monotonic clock.

    Yields
    ------
    int
        The number of a task; another worker may have done it meanwhile.
    """
    began = clock()
    for position, task_id in enumerate(task_ids):
        first = in_transaction(sessions, partial(due_live, limit=LIVE_AT_ONCE)) if position else []
        for next_id in (*first, task_id):
            if position and clock() - began > budget_s:
                in_transaction(sessions, partial(forget_hints, task_ids=task_ids[position:]))
                return
            yield next_id
