"""The receivers of the table, each a process of its own: storescp as a careful user runs it, and Auscult's listener."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

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
        """CPU time so far, of the process and of its children, ended ones too."""
        total = sum(self._process.cpu_times()[:4])
        for child in self._process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                total += sum(child.cpu_times()[:2])
        return total

    def objects(self) -> list[Path]:
        """The objects that it has stored."""
        return [path for path in self.folder.iterdir() if path.is_file()]

    def clear(self) -> None:
        """Remove what it has stored."""
        for path in self.objects():
            path.unlink()


@contextmanager
def receivers(root: Path) -> Iterator[list[Receiver]]:
    """storescp (durable, tuned), Auscult, and Auscult on pynetdicom's path, running."""
    with ExitStack() as stack:
        made = storescp(root), auscult(root, "auscult"), auscult(root, "pynetdicom", "--collect")
        yield [stack.enter_context(each) for each in made]


@contextmanager
def storescp(root: Path) -> Iterator[Receiver]:
    """dcmtk's storescp: bit preserving (+B), PDUs of 128 KiB, no delays of TCP, each file synced before it is closed."""
    peers, folder, port = provided(("storescp",), ("dcmtk",)), root / "storescp", _free_port()
    folder.mkdir()
    library = root / "durable.so"
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("cc: a C compiler makes storescp durable")
    source = Path(__file__).with_name("durable.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**peers.environment, "TCP_NODELAY": "1", "LD_PRELOAD": str(library)}
    options = ["--fork", "+B", "+xa", "--max-pdu", "131072", "-od", folder]
    command = [peers.programs["storescp"], *options, str(port)]
    with _running(command, environment) as process:
        _wait_for(port)
        yield Receiver("storescp", port, process.pid, folder)


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
