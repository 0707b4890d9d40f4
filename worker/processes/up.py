"""``auscult up``: broker, listener and workers supervised in one go, on the embedded default or on two URLs."""

from __future__ import annotations

import logging
import os
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.auditing.processes import ProcessTrail
from worker.database import connect, make_home, open_database
from worker.errors import DatabaseUnavailable, WorkerError
from worker.models.active import check_active_bundle, check_first_start
from worker.processes.apart import apart
from worker.processes.broker import start_broker
from worker.processes.forks import ForkServer
from worker.processes.supervisor import Child, Supervisor
from worker.runfiles import clear_port, home_locked
from worker.settings import Settings, child_environment, port_file

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

READY_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Stack:
    """The supervisor of broker, listener and workers, and the listener among them."""

    supervisor: Supervisor
    listener: Child


@contextmanager
def running_stack(settings: Settings, command: str) -> Iterator[Stack]:
    """Start broker, listener and workers, for one ``command`` of a data folder at a time; end them in order on exit."""
    check_first_start(settings)
    make_home(settings)
    # First of all that serves: it forks this process, and what is open by then would be open in every child.
    with closing(ForkServer(child_environment(settings))) as forks, home_locked(settings.home, command):
        pid = os.getpid()
        is_noted = apart(lambda: _begin(settings, command, pid))
        supervisor = Supervisor()
        supervisor.handle_signals()
        try:
            if not settings.broker_url:
                start_broker(settings, supervisor)
            clear_port(port_file(settings))
            listener = supervisor.add(Child("listener", forks.verb("listen"), announces=True))
            supervisor.add(Child("workers", forks.verb("work", "--processes", str(settings.processes))))
            yield Stack(supervisor, listener)
        finally:
            supervisor.stop()
            if is_noted:
                apart(lambda: _end(settings, command, pid))


def _begin(settings: Settings, command: str, pid: int) -> bool:
    """Check, and record that the supervisor starts; returns whether that was recorded."""
    check_start(settings)
    database = connect(settings)
    trail = ProcessTrail(settings, database.sessions, command, pid)
    trail.try_start()
    database.dispose()
    return trail.is_noted


def _end(settings: Settings, command: str, pid: int) -> None:
    database = connect(settings)
    ProcessTrail(settings, database.sessions, command, pid, is_noted=True).note_stop()
    database.dispose()


def check_start(settings: Settings) -> str | None:
    """The model that new images are scored with; raises errors that a person has to fix.

    None where the database is away, full or read-only, which is waited for.
    """
    check_first_start(settings)
    try:
        database = open_database(settings)
        model = check_active_bundle(settings, database)
        database.dispose()
    except DatabaseUnavailable as error:
        # A start that fails again and again would leave the PACS without a listener.
        logger.warning("%s; waiting for it", error, extra={"action": "away"})
        return None
    return model


def wait_until_listening(stack: Stack) -> int:
    """The port, once the listener is bound; raises when it does not come up."""
    supervisor = stack.supervisor
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not supervisor.stopping.is_set():
        supervisor.check()
        port = stack.listener.announced()
        if port:
            return int(port)
        if time.monotonic() > deadline:
            msg = f"the listener did not come up within {READY_TIMEOUT_S:.0f} s"
            raise WorkerError(msg)
        supervisor.stopping.wait(0.1)
    msg = "stopped before the listener was up"
    raise WorkerError(msg)
