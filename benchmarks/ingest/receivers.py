"""The receivers of the table, each a process of its own: storescp as a careful user runs it, and Auscult's listener."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.durable import durable_library
from benchmarks.ingest.tables import COLLECTING, OURS, STORESCP, UNHASHED
from tests.support.peers import provided

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_S = 30.0


class Receiver:
    """A running receiver."""

    def __init__(self, name: str, port: int, pid: int, folder: Path) -> None:
        self.name = name
        self.port = port
        self.folder = folder
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        """CPU time so far, of the process and of its children, ended ones too; waits for children that end just now."""
        deadline = time.monotonic() + START_S
        while any(map(_is_running, self._children())):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not end its associations")
            time.sleep(0.005)
        # Children first: one that is counted twice, because it is reaped meanwhile, would be a wrong number.
        children = self._children()
        ended = sum(_exact_cpu_s(child) for child in children)
        total = sum(self._process.cpu_times()[:4])
        return total + ended if children == self._children() else self.cpu_s()

    def _children(self) -> list[psutil.Process]:
        return self._process.children(recursive=True)

    def objects(self) -> list[Path]:
        """The objects that it has stored."""
        return [path for path in self.folder.iterdir() if path.is_file()]

    def clear(self) -> None:
        """Remove what it has stored."""
        for path in self.objects():
            path.unlink()


@contextmanager
def receivers(root: Path) -> Iterator[list[Receiver]]:
    """storescp (durable, tuned), Auscult, Auscult without its digests, and Auscult on pynetdicom's path, running."""
    with ExitStack() as stack:
        made = (
            storescp(root),
            auscult(root, OURS),
            auscult(root, UNHASHED, "--no-digests"),
            auscult(root, COLLECTING, "--collect"),
        )
        yield [stack.enter_context(each) for each in made]


@contextmanager
def storescp(root: Path) -> Iterator[Receiver]:
    """dcmtk's storescp: bit preserving (+B), PDUs of 128 KiB, no delays of TCP, each file synced before it is closed."""
    peers, folder, port = provided(("storescp",), ("dcmtk",)), root / STORESCP, _free_port()
    folder.mkdir()
    library = durable_library(root)
    if library is None:
        raise FileNotFoundError("cc: a C compiler makes storescp durable")
    environment = {**peers.environment, "TCP_NODELAY": "1", "LD_PRELOAD": str(library)}
    options = ["--fork", "+B", "+xa", "--max-pdu", "131072", "-od", folder]
    command = [peers.programs["storescp"], *options, str(port)]
    with _running(command, environment) as process:
        _wait_for(port)
        yield Receiver(STORESCP, port, process.pid, folder)


@contextmanager
def auscult(root: Path, name: str, *options: str) -> Iterator[Receiver]:
    """Auscult's listener alone, without registrar and database."""
    folder, port = root / name, _free_port()
    command = [sys.executable, "-m", "benchmarks.ingest.listener", str(folder), str(port), *options]
    with _running(command, dict(os.environ)) as process:
        _wait_for(port)
        yield Receiver(name, port, process.pid, folder / "new")


@contextmanager
def _running(command: Sequence[object], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([str(part) for part in command], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _exact_cpu_s(ended: psutil.Process) -> float:
    """CPU time of an ended process with one thread; `cpu_times` rounds each down to 10 ms, and there are many."""
    try:
        return int(Path(f"/proc/{ended.pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    msg = f"nothing listens on port {port}"
    raise TimeoutError(msg)
