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
#: A child that ends this soon, this often in a row, and has never run longer, will not get better by being started
#: again. One that has run before has lost something from outside that may come back: it is tried for ever.
TOO_SOON_S = 5.0
GIVE_UP_AFTER = 5
LONGEST_PAUSE_S = 60.0
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
    #: Whether it has ever run for longer than a moment.
    was_well: bool = False
    #: When to start it again; None while it runs.
    due: float | None = None

    def start(self) -> None:
        """Start the process; it gets SIGTERM when this one dies."""
        self.started, self.due = time.monotonic(), None
        # Own process group: a Ctrl-C reaches the supervisor alone, which ends the children in order.
        self.process = subprocess.Popen(
            list(self.command),
            env=dict(self.env) or None,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - children are started from the main thread
        )

    def note_end(self) -> None:
        """Count an end and set the time of the next start: at once, after quick ends in a row after a growing pause."""
        now = time.monotonic()
        is_quick = now - self.started < TOO_SOON_S
        self.was_well = self.was_well or not is_quick
        self.quick_ends = self.quick_ends + 1 if is_quick else 0
        pause = 2.0 ** min(self.quick_ends - 2, 10) if self.was_well and self.quick_ends > 1 else 0.0
        self.due = now + min(pause, LONGEST_PAUSE_S)

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
        """Start again what ended; raises ChildRefused or ChildFailed where that would not help."""
        for child in self._children:
            code = child.process.poll() if child.process else None
            if code is None or self.stopping.is_set():
                continue
            if child.due is None:
                child.note_end()
                _check_hope(child, code)
            if child.due is not None and child.due <= time.monotonic():
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


def _check_hope(child: Child, code: int) -> None:
    """Raise when a child that has never run well ends in a way that only a person can change."""
    if child.was_well:
        return
    if code == USAGE:
        # It has said why in one line of its own.
        raise ChildRefused
    if child.quick_ends >= GIVE_UP_AFTER:
        msg = f"{child.name} ended {GIVE_UP_AFTER} times in a row, last with exit code {code}; its log says why"
        raise ChildFailed(msg)


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
