"""``auscult up``: broker, listener and workers supervised in one go, on the embedded default or on two URLs."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.bootstrap import check_active_bundle, check_first_start, open_database
from worker.embedded import start_broker
from worker.errors import DatabaseUnavailable, WorkerError
from worker.settings import Settings, child_environment, port_file
from worker.supervisor import Child, Supervisor, auscult

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

READY_TIMEOUT_S = 180.0


@contextmanager
def running_stack(settings: Settings) -> Iterator[Supervisor]:
    """Everything started; ended in order on the way out."""
    check_start(settings)
    supervisor = Supervisor()
    supervisor.handle_signals()
    try:
        if not settings.broker_url:
            start_broker(settings, supervisor)
        port_file(settings).unlink(missing_ok=True)
        env = child_environment(settings)
        supervisor.add(Child("listener", auscult("listen"), env))
        for number in range(settings.processes):
            supervisor.add(Child(f"worker {number + 1}", auscult("work"), env))
        yield supervisor
    finally:
        supervisor.stop()


def check_start(settings: Settings) -> None:
    """Raise what a person has to put right; a database that is away, full or read-only now is waited for."""
    check_first_start(settings)
    try:
        database = open_database(settings)
        check_active_bundle(settings, database)
        database.dispose()
    except DatabaseUnavailable as error:
        # Ending here again and again would leave the PACS without a listener.
        logger.warning("%s; waiting for it", error, extra={"action": "away"})


def wait_until_listening(settings: Settings, supervisor: Supervisor) -> int:
    """The port, once the listener is bound; raises when it does not come up."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not supervisor.stopping.is_set():
        supervisor.check()
        try:
            return int(port_file(settings).read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            pass
        if time.monotonic() > deadline:
            msg = f"the listener did not come up within {READY_TIMEOUT_S:.0f} s"
            raise WorkerError(msg)
        supervisor.stopping.wait(0.1)
    msg = "stopped before the listener was up"
    raise WorkerError(msg)


def run_workers(settings: Settings, processes: int) -> None:
    """Several worker processes side by side, each restarted when it ends."""
    supervisor = Supervisor()
    supervisor.handle_signals()
    try:
        for number in range(processes):
            supervisor.add(Child(f"worker {number + 1}", auscult("work"), child_environment(settings)))
        supervisor.run()
    finally:
        supervisor.stop()
