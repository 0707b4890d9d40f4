"""The systems that are compared, each looked at from outside: a port, a table of results, and its processes."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import psutil

from benchmarks.peers.sender import LOCAL, MOST_PDU
from tests.support.servers import OwnServer, free_port
from worker.settings import Settings

if TYPE_CHECKING:
    from tests.support.debian import Peers

MODEL = str(Settings.model_fields["model"].default)
START_S, STOP_S = 120.0, 120.0


class System(Protocol):
    """What is measured."""

    key: str
    title: str
    #: What holds after a power cut, and after a crash.
    guarantees: str
    aet: str
    port: int

    def start(self) -> None:
        """Come up; returns when films are taken."""

    def stop(self) -> None:
        """End; what it holds is deleted."""

    def processes(self) -> list[psutil.Process]:
        """Every process of the system."""

    def rows(self) -> int:
        """How many results are committed, or how many objects are stored where there are no results."""

    def is_settled(self) -> bool:
        """Whether nothing is left to do for what it has received."""

    def logits(self) -> dict[str, float]:
        """The network's answer by SOP Instance UID."""

    def said(self) -> str:
        """The end of its log."""


class Tree:
    """Processes below one, and what they have used."""

    root: subprocess.Popen[bytes] | None = None

    def processes(self) -> list[psutil.Process]:
        """Every process of the system."""
        if self.root is None:
            return []
        top = psutil.Process(self.root.pid)
        return [top, *top.children(recursive=True)]


class Auscult(Tree):
    """``auscult up --processes 2`` on the embedded default: SQLite, the embedded broker."""

    key, title, aet = "auscult", "Auscult", "AUSCULT"
    guarantees = (
        "Files, their names, index and rows are synced (SQLite, synchronous FULL). A film that was answered 0x0000 gets its "
        "row after any crash and any power cut. The gate, the audit trail, the film on disk and the answer of the study are "
        "part of the work."
    )
    #: As delivered, but that studies are complete after a moment: else the work that follows falls into others' turns.
    settings: ClassVar = {"AUSCULT_QUIET_S": "0.5", "AUSCULT_PORT": "0", "PATH": "/usr/bin:/bin"}

    def __init__(self, processes: int = 2, **settings: str) -> None:
        self._processes, self.port = processes, 0
        self._settings = self.settings | settings

    def start(self) -> None:
        """Start it in a data folder of its own; returns when the listener has a port and each worker a heartbeat."""
        self._folder = Path(tempfile.mkdtemp(prefix="auscult-peer-", dir="/tmp"))
        self.database = self._folder / "home" / "auscult.db"
        self.environment = {**self._settings, "AUSCULT_HOME": str(self._folder / "home")}
        command = [sys.executable, "-m", "worker.cli", "up", "--processes", str(self._processes)]
        with (self._folder / "up.log").open("wb") as log:
            self.root = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + START_S
        while not self._is_up():
            if self.root.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Auscult did not come up:\n{self.said()}")
            time.sleep(0.1)

    def _is_up(self) -> bool:
        with suppress(OSError, ValueError, sqlite3.Error):
            self.port = int((self._folder / "home" / "run" / "listener.port").read_text(encoding="ascii"))
            return bool(asked(self.database, "SELECT count(*) FROM worker")[0][0] >= self._processes)
        return False

    def stop(self) -> None:
        """End it as systemd does."""
        if self.root:
            self.root.send_signal(signal.SIGTERM)
            self.root.wait(STOP_S)
        shutil.rmtree(self._folder, ignore_errors=True)
        self.root = None

    def rows(self) -> int:
        """Committed results."""
        return int(asked(self.database, "SELECT count(*) FROM result")[0][0])

    def is_settled(self) -> bool:
        """Whether every study has its final answer."""
        return not asked(self.database, "SELECT count(*) FROM study WHERE state <> 'FINAL'")[0][0]

    def logits(self) -> dict[str, float]:
        """The network's answers; a film that was not judged has none."""
        return dict(asked(self.database, "SELECT sop_uid, logit FROM result_history WHERE logit IS NOT NULL"))

    def said(self) -> str:
        """The end of its log."""
        return end_of(self._folder / "up.log")


class Receiver(OwnServer):
    """dcmtk's storescp, tuned and durable: what receiving alone can be. It judges nothing."""

    name, key, title, aet = "storescp", "storescp", "storescp, durable", "STORESCP"
    guarantees = "Files are synced, their names are not. It indexes and judges nothing."
    stop_signal, kill_signal = signal.SIGTERM, signal.SIGKILL

    def __init__(self, programs: Peers, library: Path) -> None:
        environment = {**programs.environment, "TCP_NODELAY": "1", "LD_PRELOAD": str(library)}
        super().__init__("auscult-storescp-", environment=environment)
        self._program, self.port = programs.programs["storescp"], 0

    def _command(self) -> list[str]:
        self.port, folder = free_port(), self.root / "received"
        folder.mkdir(exist_ok=True)
        options = ["--fork", "+B", "-pdu", str(MOST_PDU), "+xa", "-od", str(folder)]
        return [self._program, *options, "-aet", self.aet, str(self.port)]

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((LOCAL, self.port), 1):
            return True
        return False

    def stop(self) -> None:
        """End it; what it received is deleted."""
        super().kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """The one that listens, and one for each association."""
        top = psutil.Process(self.process.pid) if self.process else None
        return [top, *top.children(recursive=True)] if top else []

    def version(self) -> str:
        """The version of dcmtk."""
        said = subprocess.run(
            [self._program, "--version"], env=dict(self._environment), capture_output=True, text=True, check=False
        )
        return said.stdout.partition(" v")[2].partition(" ")[0]

    def rows(self) -> int:
        """Objects on disk."""
        return len(list((self.root / "received").iterdir()))

    def is_settled(self) -> bool:
        """Nothing follows."""
        return True

    def logits(self) -> dict[str, float]:
        """It judges nothing."""
        return {}

    def said(self) -> str:
        """The end of its log."""
        return end_of(self._log)


def end_of(log: Path) -> str:
    """The last of what a program has written."""
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def cpu_s(system: System) -> float:
    """CPU seconds of a system since it began, of processes that have ended too."""
    total = 0.0
    for process in system.processes():
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def pss_mb(system: System) -> float:
    """Proportional set size of a whole system, MB."""
    total = 0.0
    for process in system.processes():
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss / 1e6
    return total


def asked(database: Path, sql: str) -> list[Any]:
    """Ask an SQLite database of a running system, read-only."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(sql).fetchall()
