"""Child processes of ``auscult up`` and ``auscult work --processes N``: started, restarted, ended in order.

A child dies with its supervisor, however that ends (`worker.child`), so no process is left behind. Spool and leases
recover the work that the kill interrupts.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from worker.child import end_with
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

RESTART_PAUSE_S = 1.0
#: A child that ends this soon, this often in a row, and has never run longer is given up. One that has run before may
#: have lost something that comes back, so it is restarted for ever.
TOO_SOON_S = 5.0
GIVE_UP_AFTER = 5
#: A start may take many seconds on a busy machine.
WELL_AFTER_S = 60.0
LONGEST_PAUSE_S = 60.0
STOP_TIMEOUT_S = 60.0
#: More bytes than a child writes when it is ready: a port number.
ANNOUNCEMENT_BYTES = 64
#: The exit code of wrong usage or settings, which a restart does not fix.
USAGE = 2


class ChildFailed(WorkerError):
    """A child process ended and starting it again would not help."""

    exit_code = 1


class ChildRefused(WorkerError):
    """A child process ended because of its settings, and has logged why."""


class Process(Protocol):
    """A running child, as `subprocess.Popen` is one."""

    @property
    def pid(self) -> int:
        """The process id."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; raises `subprocess.TimeoutExpired`."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""


class Startable(Protocol):
    """What a child runs."""

    def start(self, ready: int | None) -> Process:
        """Start it; `ready`: a file descriptor that is handed over as `--ready-fd`."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command line."""

    command: Sequence[str]
    cwd: Path | None = None

    def start(self, ready: int | None) -> Process:
        """Start it; it is killed when this process dies."""
        return subprocess.Popen(
            [*self.command, *(() if ready is None else ("--ready-fd", str(ready)))],
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            # Own process group: a Ctrl-C reaches the supervisor alone, which ends the children in order.
            process_group=0,
            pass_fds=() if ready is None else (ready,),
            preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - children are started from the main thread
        )


@dataclass(slots=True)
class Child:
    """One child process and how to start it."""

    name: str
    runs: Startable
    #: Called before each start.
    prepare: Callable[[], None] | None = None
    #: Whether the running child cannot be reached any more until it is restarted.
    is_lost: Callable[[], bool] | None = None
    #: Whether it takes `--ready-fd` and writes to it when it is ready.
    announces: bool = False
    process: Process | None = None
    started: float = 0.0
    quick_ends: int = 0
    #: Whether it has ever run for longer than any start takes.
    was_well: bool = False
    #: When to start it again; None while it runs.
    due: float | None = None
    _announcement: int | None = None

    def start(self) -> None:
        """Start the process; it is killed when this one dies."""
        if self.prepare:
            self.prepare()
        self.started, self.due = time.monotonic(), None
        handed = self._open_announcement()
        try:
            self.process = self.runs.start(handed)
        finally:
            if handed is not None:
                os.close(handed)

    def announced(self) -> str | None:
        """The text that the child wrote when it was ready; None until then."""
        if self._announcement is None:
            return None
        try:
            # The text is short enough to be written and read whole.
            said = os.read(self._announcement, ANNOUNCEMENT_BYTES)
        except BlockingIOError:
            return None
        return said.decode("ascii") or None

    def _open_announcement(self) -> int | None:
        self.close()
        if not self.announces:
            return None
        self._announcement, handed = os.pipe()
        os.set_blocking(self._announcement, False)
        return handed

    def close(self) -> None:
        """Close the pipe for the announcement."""
        if self._announcement is not None:
            os.close(self._announcement)
        self._announcement = None

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def note_end(self) -> None:
        """Count an end and set the time of the next start: at once, after quick ends in a row after a growing pause."""
        now = time.monotonic()
        is_quick = now - self.started < TOO_SOON_S
        self.was_well = self.was_well or now - self.started >= WELL_AFTER_S
        self.quick_ends = self.quick_ends + 1 if is_quick else 0
        pause = 2.0 ** min(self.quick_ends - 2, 10) if self.was_well and self.quick_ends > 1 else 0.0
        self.due = now + min(pause, LONGEST_PAUSE_S)

    def terminate(self, timeout_s: float) -> None:
        """SIGTERM, then SIGKILL where the child does not end in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        # A stopped process handles SIGTERM only after SIGCONT.
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not end in time", self.name, extra={"action": "kill"})
            self.kill()


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
        """Stop on SIGTERM and SIGINT, and when the terminal closes."""
        on_stop(self.stopping.set)

    def check(self) -> None:
        """Restart the children that ended; raises ChildRefused or ChildFailed where that would not help."""
        for child in self._children:
            code = child.process.poll() if child.process else None
            if self.stopping.is_set():
                return
            if code is None:
                self._restart_if_lost(child)
                continue
            if child.due is None:
                child.note_end()
                _check_restart(child, code)
            if child.due is not None and child.due <= time.monotonic():
                logger.warning("%s ended, starting it again", child.name, extra={"action": "restart", "code": code})
                child.start()

    def _restart_if_lost(self, child: Child) -> None:
        if child.is_lost and child.is_lost():
            logger.warning("%s cannot be reached, starting it again", child.name, extra={"action": "restart"})
            child.kill()
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
            child.close()


def on_stop(stop: Callable[[], object]) -> None:
    """Call ``stop`` on SIGTERM, SIGINT and SIGHUP; under nohup SIGHUP stays ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: stop())


def announce(descriptor: int, text: str) -> None:
    """Write to ``--ready-fd`` that this process is ready; it does not matter whether the supervisor reads it."""
    with suppress(OSError):
        os.write(descriptor, text.encode("ascii"))
    with suppress(OSError):
        os.close(descriptor)


def _check_restart(child: Child, code: int) -> None:
    """Raise where a child that has never run well ends for a reason that only a person can fix."""
    if child.was_well:
        return
    if code == USAGE:
        # The child has logged the reason.
        raise ChildRefused
    if child.quick_ends >= GIVE_UP_AFTER:
        msg = f"{child.name} ended {GIVE_UP_AFTER} times in a row, last with exit code {code}; its log says why"
        raise ChildFailed(msg)
