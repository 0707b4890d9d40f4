"""The system under load: ``auscult up`` with the embedded broker on a PostgreSQL of its own, which syncs its writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.support.postgres import PostgresServer
from tests.support.running import role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_S = 180.0
AUSCULT = (sys.executable, "-m", "worker.cli")
#: What a hospital leaves as it is, but for the quiet time: half a minute would be hours on the scale of the soak.
SETTINGS = {
    "AUSCULT_PORT": "0",
    "AUSCULT_LOG": "warning",
    "AUSCULT_QUIET_S": "5",
    # The films are small copies of a drawn chest: the default network knows its scope and would refuse many of them.
    "AUSCULT_MODEL": "notebook-1",
    "AUSCULT_GATE_POLICY": "TEST_PATTERN=accept,INVERTED_PICTURE=accept",
}


#: What the report calls the roles of processes.
PARTS = {"listen": "listener", "work": "worker", "child": "film's process"}


class SyncingPostgres(PostgresServer):
    """A PostgreSQL that syncs, as that of a hospital does and those of the tests do not."""

    def _command(self) -> list[str]:
        synced = ("fsync=on", "full_page_writes=on", "synchronous_commit=on")
        return [*super()._command(), *(part for setting in synced for part in ("-c", setting))]


@dataclass(slots=True)
class Served:
    """A running Auscult with its database."""

    home: Path
    log: Path
    process: psutil.Process
    database: PostgresServer
    url: str

    @property
    def port(self) -> int | None:
        """The port of the listener, None while it has none."""
        with suppress(OSError, ValueError):
            return int((self.home / "run" / "listener.port").read_text(encoding="ascii"))
        return None

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The running processes by their part."""
        found: dict[str, list[psutil.Process]] = {"supervisor": [self.process]}
        with suppress(psutil.NoSuchProcess):
            for process in self.process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    found.setdefault(PARTS.get(role(process), role(process)), []).append(process)
        if self.database.process:
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(self.database.process.pid)
                found["database"] = [root, *root.children(recursive=True)]
        return found


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """A new site, ended afterwards."""
    with SyncingPostgres().running() as database:
        url = database.create_database()
        home, log = folder / "home", folder / "up.log"
        environment = {**os.environ, **SETTINGS, "AUSCULT_HOME": str(home), "AUSCULT_DATABASE_URL": url}
        subprocess.run([*AUSCULT, "migrate"], env=environment, check=True)
        with log.open("wb") as stream:
            process = subprocess.Popen([*AUSCULT, "up"], env=environment, stdout=stream, stderr=stream)
        try:
            served = Served(home, log, psutil.Process(process.pid), database, url)
            _wait_for_port(served, process)
            yield served
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(120)


def _wait_for_port(served: Served, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while served.port is None:
        if time.monotonic() > deadline or process.poll() is not None:
            raise TimeoutError(f"Auscult did not come up: {served.log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder whose path is short enough for a socket."""
    return tempfile.TemporaryDirectory(prefix="auscult-soak-", dir="/tmp")
