"""The Celery application, made by a factory: nothing connects, reads settings or loads a model at import.

Celery only carries hints. Acknowledgements are late and a lost worker's message is not put back: leases in SQL repair
crashes, and a film that kills its worker must not come back for ever (ARCHITECTURE.md, Decisions).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import warnings
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.bootsteps import StartStopStep
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging
from kombu import Exchange, Queue

from worker.environment import forget_foreign
from worker.errors import WorkerError
from worker.judging.parent import NO_PARENT, Parent, open_for_forks
from worker.logs import configure_logging
from worker.presence import present
from worker.processes.forkserver import load
from worker.processes.tasks import register_tasks
from worker.queue.broker import BrokerConnection
from worker.queue.hints import REDIS_OPTIONS
from worker.queue.message import EARLIER_QUEUES, QUEUE

if TYPE_CHECKING:
    from worker.settings import Settings


class WorkerEnded(WorkerError):
    """Celery's worker ended without being told to."""

    exit_code = 1


def make_app(settings: Settings, parent: Parent = NO_PARENT) -> Celery:
    """A Celery application with the task registered and every default that could lose or repeat work changed.

    ``parent``: this process, as its children see it.
    """
    # Celery prefers the environment to its arguments.
    forget_foreign()
    app = Celery("auscult", broker=settings.broker, set_as_current=False)
    app.amqp.Connection = BrokerConnection
    app.conf.update(
        broker_transport_options=REDIS_OPTIONS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A broker that is full or read-only answers with errors of the channel, which end Celery's worker by default.
        broker_channel_error_retry=True,
        task_queues=[Queue(name, Exchange(""), routing_key=name) for name in (QUEUE, *EARLIER_QUEUES)],
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_ignore_result=True,
        # Each film has its own limit (`worker.judging.time_limit`). This one is for a child that cannot keep it, as one that
        # was stopped: no film begins after half of `task_limit_s`, so none is ended here before its own limit.
        task_time_limit=2 * settings.task_limit_s,
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=120,
        # Celery waits ten seconds for a result of a dead child before it takes the next message; there are no results.
        worker_lost_wait=0.1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        # Off: anyone who reaches the broker could stop a worker from consuming, or end it.
        worker_enable_remote_control=False,
        worker_consumer="worker.processes.tasks:HintConsumer",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        accept_content=["json"],
        task_serializer="json",
    )
    app.steps["worker"].add(_hangup_step())
    register_tasks(app, settings, parent)
    setup_logging.connect(lambda **_: configure_logging(settings.log, settings.log_format), weak=False)
    return app


def _hangup_step() -> type[StartStopStep]:
    """SIGHUP ends a worker as SIGTERM does: Celery would start it again, though its terminal or supervisor is gone."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # by nohup

    class EndOnHangup(StartStopStep):
        def start(self, parent: object) -> None:  # noqa: ARG002 - Celery's signature
            signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.getsignal(signal.SIGTERM))

    return EndOnHangup


def run_worker(settings: Settings, children: int = 1, model: str | None = None) -> None:
    """Work off hints until SIGTERM, in ``children`` forks of this process: so time limits hold and a dead one is replaced.

    ``model``: the one that they will use first.
    """
    # What the children share with this process, they do not copy.
    load()
    # Celery warns that root plus pickle is dangerous; this application accepts nothing but JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    presence = present(settings.home)
    app = make_app(settings, Parent(presence.key if presence else "", open_for_forks(settings, model)))
    # Not by Celery's command line: it would load an interactive shell, 10 MB for each worker.
    worker: Any = app.Worker(
        hostname=f"auscult-{os.getpid()}@{socket.gethostname()}",
        pool_cls="prefork",
        concurrency=children,
        queues=[QUEUE, *EARLIER_QUEUES],
        loglevel=logging.getLevelNamesMapping()[settings.log.upper()],
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    if presence:
        presence.leave()
    if worker.exitcode:
        msg = "the worker ended by an error; the log lines above say where"
        raise WorkerEnded(msg)
