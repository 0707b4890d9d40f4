"""Commands of ``auscult`` without their imports: a process imports once and forks for each command.

A command runs in a process of its own, from ``worker.cli.main`` to the end of the interpreter, with the environment, the
output and the exit code that it would have. What it costs otherwise is half a second of imports, some hundred times.
Who tests the start of a command itself runs `tests.support.running.command`.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psutil

#: What most commands import; none of it starts a thread, which a fork would not take along.
_IMPORTED = (
    "worker.cli.command",
    "worker.cli.ingest",
    "worker.cli.model.activate",
    "worker.cli.model.show",
    "worker.cli.rerun",
    "worker.cli.show",
    "worker.cli.status",
    "worker.cli.worklist",
    "worker.batches.ingest",
    "worker.database",
    "worker.db.schema.migrate",
    "dicom_io.film.film",
    "model.serving.classifier",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)
_LAUNCHER = """
import importlib, json, os, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)
assert threading.active_count() == 1, threading.enumerate()
print("ready", flush=True)
while True:
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
os.umask(asked["mask"])
os.chdir(asked["folder"])
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(os.open(asked["out"], os.O_WRONLY), 1)
os.dup2(os.open(asked["err"], os.O_WRONLY), 2)
os.environ.clear()
os.environ.update(asked["environment"])
sys.argv = ["auscult", *asked["arguments"]]
from worker.cli import main
main()
"""
_OURS = "AUSCULT_"
_TIMEOUT_S = 300.0


class _Launcher:
    """The process that forks; commands run one at a time."""

    def __init__(self) -> None:
        self.environment = _foreign(dict(os.environ))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, *_IMPORTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._answer() != "ready\n":
            raise RuntimeError("the launcher of commands did not start")

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(self, arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        with tempfile.TemporaryDirectory(prefix="auscult-told-") as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            out.touch()
            err.touch()
            line = json.dumps(
                {
                    "out": str(out),
                    "err": str(err),
                    "folder": str(Path.cwd()),
                    "mask": _mask(),
                    "arguments": arguments,
                    "environment": environment,
                }
            )
            assert self._process.stdin is not None
            timer = threading.Timer(_TIMEOUT_S, self.end)
            timer.start()
            try:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
                code = self._answer()
            except BaseException:
                self.end()
                raise
            finally:
                timer.cancel()
            texts = [path.read_bytes().decode("utf-8").replace("\r\n", "\n") for path in (out, err)]
        if not code:
            raise subprocess.TimeoutExpired(arguments, _TIMEOUT_S, *texts)
        return int(code), texts[0], texts[1]

    def end(self) -> None:
        """Kill it with the command that runs."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                process.kill()
        self._process.kill()

    def close(self) -> None:
        """End it and close the pipes to it."""
        self.end()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


_lock = threading.Lock()
_launchers: list[_Launcher] = []


def launched(arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str] | None:
    """Run a command by the launcher; None where that cannot give it the process that it would have."""
    if not _lock.acquire(blocking=False):
        return None  # another thread's command runs
    try:
        if _launchers and not _launchers[-1].is_alive:
            _launchers.pop().close()
        if not _launchers:
            _launchers.append(_Launcher())
            atexit.register(_close_all)
        # Libraries read variables of their own when they are imported.
        if _foreign(environment) != _launchers[-1].environment:
            return None
        return _launchers[-1].run(arguments, environment)
    finally:
        _lock.release()


def _close_all() -> None:
    while _launchers:
        _launchers.pop().close()


def _mask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _foreign(environment: dict[str, str]) -> dict[str, str]:
    # pytest's own variable names the test.
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_OURS) and name != "PYTEST_CURRENT_TEST"
    }
