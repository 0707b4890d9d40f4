"""Verbs of ``auscult`` as child processes, forked from a process that has imported what they need.

Such a child starts in a moment, and the memory of code and modules is shared by all: a start of its own would cost each
child seconds of imports and 80 MB.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.environment import replace_all
from worker.processes import forkserver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The first answer waits for the server's imports.
ANSWER_S = 60.0
#: A server that takes this long may have been stopped (SIGSTOP) with its group: it is told to go on.
STOPPED_AFTER_S = 2.0
POLL_S = 0.02
#: The fork server as a program of its own.
PROGRAM = "from worker.cli import serve_forks; serve_forks({}, {})"


class ForkServerLost(Exception):
    """The fork server has ended, and its children with it."""


class ForkServer:
    """Starts verbs; a server that was killed is started again with the next one. Used from the main thread alone."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        # Within a test or another program there may be threads, which a fork does not take along.
        self._server: _Server | None = _Server.forked(env) if threading.active_count() == 1 else None

    def verb(self, *arguments: str) -> Verb:
        """A verb of the command line, to be started."""
        return Verb(self, arguments)

    def fork(self, arguments: tuple[str, ...], ready: int | None) -> Forked:
        """Start a verb."""
        for server in (self._server, None):
            current = server or _Server.started(self._env)
            self._server = current
            with suppress(ForkServerLost):
                return Forked(current, current.ask({"arguments": arguments}, ready))
        msg = "the fork server ends again and again"
        raise ForkServerLost(msg)

    def close(self) -> None:
        """End the server, and with it the children that are left."""
        if self._server:
            self._server.close()
        self._server = None


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of the command line as a child process."""

    server: ForkServer
    arguments: tuple[str, ...]

    def start(self, ready: int | None) -> Forked:
        """Start it; ``ready``: a file descriptor that is handed over as ``--ready-fd``."""
        return self.server.fork(self.arguments, ready)


class Forked:
    """A running verb, with the methods of `subprocess.Popen` that a supervisor needs."""

    def __init__(self, server: _Server, pid: int) -> None:
        self._server = server
        self._code: int | None = None
        self.pid = pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self._code is None:
            try:
                self._code = self._server.ask({"pid": self.pid})
            except ForkServerLost:
                self._code = -signal.SIGKILL
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; raises `subprocess.TimeoutExpired`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                assert timeout is not None
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        # The id stays its own until the server was asked for its exit code.
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Server:
    """One process of the fork server, and the link to it."""

    def __init__(self, pid: int, link: socket.socket) -> None:
        self._pid = pid
        self._link = link

    @classmethod
    def forked(cls, env: Mapping[str, str]) -> _Server:
        """A fork of this process, which has neither threads nor open files yet."""
        forkserver.load()
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        with _ending_blocked(), theirs:
            pid = os.fork()
            if pid == 0:
                ours.close()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                replace_all(env)
                forkserver.serve(theirs, parent)
        return cls(pid, ours)

    @classmethod
    def started(cls, env: Mapping[str, str]) -> _Server:
        """A process of its own, where this one can be forked no more."""
        ours, theirs = socket.socketpair()
        with _ending_blocked(), theirs:
            command = [sys.executable, "-c", PROGRAM.format(theirs.fileno(), os.getpid())]
            process = subprocess.Popen(command, env=dict(env), stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        # Only its id is needed, and this object would look after it again.
        process.returncode = 0
        return cls(process.pid, ours)

    def ask(self, request: dict[str, Any], handed: int | None = None) -> Any:
        """Send a request, with a file descriptor, and return the answer; raises ForkServerLost."""
        try:
            socket.send_fds(self._link, [json.dumps(request).encode()], [] if handed is None else [handed])
            answer = self._answer()
        except OSError:
            answer = b""
        if not answer:
            self.close()
            raise ForkServerLost
        return json.loads(answer)

    def _answer(self) -> bytes:
        self._link.settimeout(STOPPED_AFTER_S)
        try:
            return self._link.recv(forkserver.REQUEST_BYTES)
        except TimeoutError:
            # The supervisor waits for nothing else meanwhile; one that runs does not notice.
            os.kill(self._pid, signal.SIGCONT)
        self._link.settimeout(ANSWER_S)
        return self._link.recv(forkserver.REQUEST_BYTES)

    def close(self) -> None:
        """Kill it, and with it the children that are left."""
        self._link.close()
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


@contextmanager
def _ending_blocked() -> Iterator[None]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, forkserver.ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
