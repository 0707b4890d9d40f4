"""Bring a set of tasks to their end: by live workers where there are any, else by one of this command's own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from worker.bootstrap import Database, make_dispatcher, silent_after_ms
from worker.db import inboxes, queries
from worker.errors import WorkerError
from worker.hints import BrokerAway
from worker.local import LocalWorker
from worker.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.dispatch import Dispatcher
    from worker.progress import Advance
    from worker.settings import Settings

POLL_S = 0.5
#: A listener publishes how far it is every few seconds.
SETTLE_S = 12.0
#: A command that does the work itself ends when what its films need is away for longer than this.
PATIENCE_S = 120.0


class FilmsWait(WorkerError):
    """What the films need is away; they are registered and wait for it."""

    exit_code = 1


def complete(
    settings: Settings,
    database: Database,
    open_tasks: Callable[[], Sequence[int]],
    count_done: Callable[[], int],
    advance: Advance,
) -> None:
    """Work or wait until ``open_tasks`` is empty; workers may come and go meanwhile."""
    dispatcher = make_dispatcher(settings, database.sessions)
    pause = threading.Event()
    with LocalWorker(settings, database) as worker:
        while tasks := open_tasks():
            if _has_workers(settings, database) and _hinted(dispatcher):
                pause.wait(POLL_S)
            else:
                if not _work_off(worker, tasks, count_done, advance):
                    # What is left is claimed by somebody, or lost: its lease runs out.
                    _check_patience(worker)
                    pause.wait(POLL_S)
                dispatcher.mend()
            advance(count_done())


def settle(database: Database, study_ids: Sequence[int]) -> None:
    """Settle these studies; a listener at work first says that it holds no other film of them.

    One that has a backlog to register keeps its studies open for as long: they settle without this command.
    """
    deadline = time.monotonic() + SETTLE_S
    while True:
        with database.sessions.begin() as session:
            queries.settle(session)
            is_done = inboxes.standing(session).live_until_ms is None or not queries.open_studies(session, study_ids)
        if is_done or time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def work_off_spare(settings: Settings, database: Database, tasks: Sequence[int]) -> None:
    """Try each of these tasks once where no worker lives to do so; a shadow's failure keeps nobody waiting."""
    if not tasks or _has_workers(settings, database):
        return
    with LocalWorker(settings, database) as worker, progress("shadow", len(tasks)) as advance:
        for number, task_id in enumerate(tasks, start=1):
            worker.score(task_id)
            advance(number)


def _hinted(dispatcher: Dispatcher) -> bool:
    """Send what hints are due, as any dispatcher may; without a broker the workers will hear of nothing."""
    try:
        dispatcher.turn()
    except BrokerAway:
        return False
    return True


def _work_off(worker: LocalWorker, tasks: Sequence[int], count_done: Callable[[], int], advance: Advance) -> bool:
    before = count_done()
    for number, task_id in enumerate(tasks, start=1):
        worker.score(task_id)
        advance(before + number)
    return count_done() > before


def _check_patience(worker: LocalWorker) -> None:
    if worker.away and worker.away[1] > PATIENCE_S:
        reason, _ = worker.away
        msg = f"films wait, {reason}: {reason.sentence} A worker goes on with them, or the same command later."
        raise FilmsWait(msg)


def _has_workers(settings: Settings, database: Database) -> bool:
    with database.reads() as session:
        return queries.live_workers(session, silent_after_ms(settings)) > 0
