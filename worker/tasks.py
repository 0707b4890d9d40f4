"""The Celery task: as thin as it can be, all work is in ``worker.pipeline``.

The bench (database engine, heartbeat, model) is made in the pool's child and never inherited over a fork.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from celery.signals import worker_process_init, worker_process_shutdown

from worker.hints import TASK_NAME
from worker.seat import WorkerSeat, take_seat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

    from worker.settings import Settings

logger = logging.getLogger(__name__)


def register_tasks(app: Celery, settings: Settings) -> None:
    """Register the one task and the signals that open and close a child's seat."""
    seats: list[WorkerSeat] = []

    def sit_down(**_: object) -> None:
        seats.append(take_seat(settings))

    def get_up(**_: object) -> None:
        while seats:
            seats.pop().leave()

    worker_process_init.connect(sit_down, weak=False)
    worker_process_shutdown.connect(get_up, weak=False)

    @app.task(name=TASK_NAME)
    def score(task_ids: Sequence[int]) -> None:
        for task_id in task_ids:
            try:
                seats[0].score(task_id)
            except Exception:
                # Celery would print the error's text, which may quote a header; the lease runs out and brings it back.
                logger.exception("task left to its lease", extra={"action": "error", "task": task_id})
