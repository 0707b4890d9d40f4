"""The Celery task: thin, all work is in ``worker.judging.pipeline``.

The worker (database engine, heartbeat) is made in the pool's child and never inherited over a fork; the active model is.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.signals import worker_process_init, worker_process_shutdown
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from worker.child import die_with_parent
from worker.judging.parent import NO_PARENT, Parent
from worker.judging.task_worker import TaskWorker, start_worker
from worker.presence import note_timeout
from worker.queue.message import TASK_NAME, is_hint, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery
    from kombu import Message

    from worker.settings import Settings

logger = logging.getLogger(__name__)


class HintConsumer(Consumer):
    """Celery's consumer, restricted to hints: Celery itself would run its built-in tasks for any message.

    A dropped message is logged by a line that quotes nothing of it; Celery's own lines quote the whole message.
    """

    #: An attribute of Celery's consumer that its types leave out.
    connection_errors: tuple[type[BaseException], ...]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Give the function that takes each message."""
        accept: Callable[[Message], None] = super().create_task_handler(*args, **kwargs)

        def take(message: Message) -> None:
            if not is_hint(message):
                self._drop(message)
                return
            rewrite(message)
            answer_or_reconnect(message)
            accept(message)

        return take

    def on_decode_error(self, message: Message, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Drop a message whose body cannot be unpacked."""
        self._drop(message)

    def _drop(self, message: Message) -> None:
        logger.warning("a message that is not a hint was dropped", extra={"action": "foreign_message"})
        answer_or_reconnect(message)
        message.ack_log_error(logger, self.connection_errors)


def answer_or_reconnect(message: Message) -> None:
    """Let a broker that is lost at an acknowledgement end the connection, so that the consumer makes a new one.

    kombu only logs it. The message then counts as taken for ever, and with a prefetch of one no other is asked for: the
    worker would wait until it is started again.
    """

    def acknowledge(*_: object) -> None:
        message.ack()

    def reject(_logger: object, _errors: object, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        message.reject(requeue=requeue)

    # Celery calls both from its event loop, which hands a lost connection on to the consumer.
    message.ack_log_error = acknowledge  # type: ignore[method-assign, assignment]
    message.reject_log_error = reject  # type: ignore[method-assign, assignment]


def register_tasks(app: Celery, settings: Settings, parent: Parent = NO_PARENT) -> None:
    """Register the one task and the signals that start and stop the worker of a pool's child.

    ``parent``: this process, the pool's parent.
    """
    workers: list[TaskWorker] = []
    main = os.getpid()

    def start(**_: object) -> None:
        # A child without its parent has no time limit, and could keep its claim for ever.
        die_with_parent()
        if os.getppid() != main:
            os._exit(1)
        workers.append(start_worker(settings, parent=parent))

    def stop(**_: object) -> None:
        while workers:
            workers.pop().stop()

    worker_process_init.connect(start, weak=False)
    worker_process_shutdown.connect(stop, weak=False)

    @app.task(name=TASK_NAME, base=_limited(settings), shared=False)
    def score(_word: str) -> None:
        try:
            workers[0].work()
        except Exception:
            # Celery would log the error's text, which may quote a header. Claims that are left come back by their leases.
            logger.exception("films left to their leases", extra={"action": "error"})


def _limited(settings: Settings) -> type[Task[..., None]]:
    """A task class that notes that the time limit ended the child; the next child releases what it had claimed."""

    class LimitedRequest(Request):
        def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - Celery's signature
            super().on_timeout(soft, timeout)
            try:
                note_timeout(settings.home, f"{socket.gethostname()}:{self.worker_pid}:")
            except Exception:
                # The pool's parent has to end the child now. The next child then gives another reason.
                logger.exception("the time limit was not noted", extra={"action": "error"})

    class LimitedTask(Task):  # type: ignore[type-arg]  # not generic at run time
        Request = LimitedRequest  # type: ignore[assignment]  # a class will do as well as its name

    return LimitedTask
