"""Complete a set of tasks: by live workers where there are any, else by a worker of this command's own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from worker.batches.local import LocalWorker
from worker.db.answers import inboxes
from worker.db.read import queries
from worker.db.tasks.workers import live_workers
from worker.errors import WorkerError
from worker.progress import progress
from worker.queue.dispatcher import Dispatcher, DispatchOptions
from worker.queue.hints import BrokerAway, HintPublisher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.database import Database
    from worker.progress import Advance
    from worker.settings import Settings

POLL_S = 0.5
#: To count the tasks of a big re-run takes a while: so many times as long passes until it is done again.
PAUSE_TIMES = 20
#: A listener publishes its progress every few seconds.
SETTLE_S = 12.0
#: A command that does the work itself ends when the store, model or database is away for longer than this.
PATIENCE_S = 120.0


class FilmsWait(WorkerError):
    """Films are registered and wait for something that is away."""

    exit_code = 1


def complete(
    settings: Settings,
    database: Database,
    open_tasks: Callable[[], Sequence[int]],
    count_done: Callable[[], int],
    advance: Advance,
) -> None:
    """Work or wait until ``open_tasks`` is empty; workers may start and stop meanwhile."""
    dispatcher = Dispatcher(database.sessions, HintPublisher(settings.broker), DispatchOptions.of(settings))
    pause = threading.Event()
    counting_s = 0.0
    with LocalWorker(settings, database) as worker:
        while tasks := open_tasks():
            if _has_workers(settings, database) and _hinted(dispatcher):
                pause.wait(max(POLL_S, PAUSE_TIMES * counting_s))
            else:
                if not _work_off(worker, tasks, count_done, advance):
                    # The remaining tasks are claimed by another worker, or lost until their lease runs out.
                    _check_patience(worker)
                    pause.wait(POLL_S)
                dispatcher.repair()
            began = time.monotonic()
            advance(count_done())
            counting_s = time.monotonic() - began


def settle(database: Database, study_ids: Sequence[int]) -> None:
    """Settle these studies, after every live listener has said that it holds no other film of them.

    A listener with a backlog keeps its studies open for longer than this waits: they settle later without the command.
    """
    deadline = time.monotonic() + SETTLE_S
    while True:
        with database.sessions.begin() as session:
            queries.settle(session)
            is_done = inboxes.watermarks(session).live_until_ms is None or not queries.open_studies(session, study_ids)
        if is_done or time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def work_off_spare(settings: Settings, database: Database, tasks: Sequence[int]) -> None:
    """Try each of these tasks once where no worker is alive; a failure of a shadow holds nothing up."""
    if not tasks or _has_workers(settings, database):
        return
    with LocalWorker(settings, database) as worker, progress("shadow", len(tasks)) as advance:
        _work_through(worker, tasks, advance)


def _hinted(dispatcher: Dispatcher) -> bool:
    """Send the hints that are due, as any dispatcher may; False where the broker is away."""
    try:
        dispatcher.turn()
    except BrokerAway:
        return False
    return True


def _work_off(worker: LocalWorker, tasks: Sequence[int], count_done: Callable[[], int], advance: Advance) -> bool:
    before = count_done()
    _work_through(worker, tasks, lambda number: advance(before + number))
    return count_done() > before


def _work_through(worker: LocalWorker, tasks: Sequence[int], advance: Advance) -> None:
    """Try each of these tasks once; those beside one that ended the process may still be open."""
    done = 0
    while done < len(tasks):
        done += worker.work_on(tasks[done:])
        advance(done)


def _check_patience(worker: LocalWorker) -> None:
    if worker.away and worker.away[1] > PATIENCE_S:
        reason, _ = worker.away
        msg = f"films wait, {reason}: {reason.sentence} A worker goes on with them, or the same command later."
        raise FilmsWait(msg)


def _has_workers(settings: Settings, database: Database) -> bool:
    with database.reads() as session:
        return live_workers(session, settings.silent_after_ms) > 0
