"""The Celery task: as thin as it can be, all work is in ``worker.pipeline``.

The bench (database engine, heartbeat, model) is made in the pool's child and never inherited over a fork.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.signals import worker_process_init, worker_process_shutdown
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from dicom_io.reasons import Reason
from worker.bootstrap import connect
from worker.db.claims import give_up
from worker.hints import TASK_NAME, rewrite, task_ids_of
from worker.seat import WorkerSeat, take_seat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery import Celery
    from kombu import Message

    from worker.settings import Settings

logger = logging.getLogger(__name__)


class HintConsumer(Consumer):
    """Celery's consumer, which lets hints alone pass: Celery itself would run its own tasks for whoever asks.

    What is dropped is named by one line without a word of it; Celery's own lines quote the whole message.
    """

    #: Of Celery's consumer; the types of the class leave it out.
    connection_errors: tuple[type[BaseException], ...]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Give the function that takes each message."""
        accept: Callable[[Message], None] = super().create_task_handler(*args, **kwargs)

        def take(message: Message) -> None:
            task_ids = task_ids_of(message)
            if task_ids is None:
                self._drop(message)
                return
            rewrite(message, task_ids)
            accept(message)

        return take

    def on_decode_error(self, message: Message, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Drop a message whose body cannot be unpacked."""
        self._drop(message)

    def _drop(self, message: Message) -> None:
        logger.warning("a message that is no hint was dropped", extra={"action": "foreign_message"})
        message.ack_log_error(logger, self.connection_errors)


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

    @app.task(name=TASK_NAME, base=_limited(settings), shared=False)
    def score(task_ids: Sequence[int]) -> None:
        for task_id in task_ids:
            try:
                seats[0].score(task_id)
            except Exception:
                # Celery would print the error's text, which may quote a header; the lease runs out and brings it back.
                logger.exception("task left to its lease", extra={"action": "error", "task": task_id})


def _limited(settings: Settings) -> type[Task[..., None]]:
    """Let a film whose worker is ended by the time limit say so, at once and not when its lease has run out."""

    class LimitedRequest(Request):
        def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - Celery's signature
            super().on_timeout(soft, timeout)
            try:
                _take_back(settings, self.args[0], self.worker_pid)
            except Exception:
                # This is the pool's parent, which has to end the child now; the lease runs out and brings the task back.
                logger.exception("task left to its lease", extra={"action": "error"})

    class LimitedTask(Task):  # type: ignore[type-arg]  # not generic at run time
        Request = LimitedRequest  # type: ignore[assignment]  # a class will do as well as its name

    return LimitedTask


def _take_back(settings: Settings, task_ids: Sequence[int], pid: object) -> None:
    """Runs in the pool's parent, which keeps no connection: its children would inherit it."""
    database = connect(settings)
    try:
        give_up(
            database.sessions,
            task_ids,
            f"{socket.gethostname()}:{pid}:",
            Reason.TIMED_OUT,
            backoff_ms=round(settings.retry_backoff_s * 1000),
            max_attempts=settings.max_attempts,
        )
    finally:
        database.dispose()
