"""Child processes of ``auscult up`` and ``auscult work --processes N``: started, restarted, ended in order.

A child dies with its supervisor, however that ends (prctl PR_SET_PDEATHSIG, Linux): nothing is left behind.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
RESTART_PAUSE_S = 1.0
#: A child that ends this soon, this often in a row, will not get better by being started again.
TOO_SOON_S = 5.0
GIVE_UP_AFTER = 5
STOP_TIMEOUT_S = 60.0
#: The exit code of wrong usage or settings: a restart cannot mend it.
USAGE = 2


class ChildFailed(WorkerError):
    """A child process ended and starting it again would not help."""

    exit_code = 1


class ChildRefused(WorkerError):
    """A child process ended because of its settings and has said so itself."""


@dataclass(slots=True)
class Child:
    """One child process and how to start it."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    quick_ends: int = 0

    def start(self) -> None:
        """Start the process; it gets SIGTERM when this one dies."""
        self.started = time.monotonic()
        # Own process group: a Ctrl-C reaches the supervisor alone, which ends the children in order.
        self.process = subprocess.Popen(
            list(self.command),
            env=dict(self.env) or None,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - children are started from the main thread
        )

    def terminate(self, timeout_s: float) -> None:
        """SIGTERM, and SIGKILL when that is not heeded in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not end in time", self.name, extra={"action": "kill"})
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Keeps children running until it is told to stop; ends them in the reverse order of their start."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self.stopping = threading.Event()

    def add(self, child: Child) -> Child:
        """Start a child and keep it running."""
        child.start()
        self._children.append(child)
        return child

    def handle_signals(self) -> None:
        """Stop on SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())

    def check(self) -> None:
        """Start again what ended; raises ChildFailed where that would not help."""
        for child in self._children:
            code = child.process.poll() if child.process else None
            if code is None or self.stopping.is_set():
                continue
            child.quick_ends = child.quick_ends + 1 if time.monotonic() - child.started < TOO_SOON_S else 0
            if code == USAGE:
                # It has said why in one line of its own.
                raise ChildRefused
            if child.quick_ends >= GIVE_UP_AFTER:
                msg = f"{child.name} ended {GIVE_UP_AFTER} times in a row, last with exit code {code}; its log says why"
                raise ChildFailed(msg)
            logger.warning("%s ended, starting it again", child.name, extra={"action": "restart", "code": code})
            child.start()

    def run(self) -> None:
        """Watch the children until a signal comes."""
        while not self.stopping.wait(RESTART_PAUSE_S):
            self.check()

    def stop(self) -> None:
        """End all children, the last started first."""
        self.stopping.set()
        for child in reversed(self._children):
            child.terminate(STOP_TIMEOUT_S)


def auscult(*arguments: str) -> list[str]:
    """The command line that runs an Auscult verb with this very Python."""
    return [sys.executable, "-m", "worker.cli", *arguments]


def _die_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
