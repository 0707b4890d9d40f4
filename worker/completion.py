"""Bring a set of tasks to their end: by live workers where there are any, else by one of this command's own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from worker.bootstrap import Database, make_dispatcher, silent_after_ms
from worker.db import queries
from worker.hints import BrokerAway
from worker.local import LocalWorker
from worker.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.dispatch import Dispatcher
    from worker.progress import Advance
    from worker.settings import Settings

POLL_S = 0.5


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
                    pause.wait(POLL_S)
                dispatcher.mend()
            advance(count_done())


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


def _has_workers(settings: Settings, database: Database) -> bool:
    with database.reads() as session:
        return queries.live_workers(session, silent_after_ms(settings)) > 0
