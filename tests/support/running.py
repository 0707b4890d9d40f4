"""A real Auscult for the tests: its own data folder, real processes, real databases; every command by its command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
from sqlalchemy import create_engine, text

from tests.support.launcher import launched
from tests.support.waiting import wait_until
from worker.runfiles import read_port
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TERMINAL = ("FINAL", "NOT_APPLICABLE", "FAILED")
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
#: Short waits, so that a test sees in seconds what a hospital sees in minutes.
QUICK = {
    "AUSCULT_PORT": "0",
    "AUSCULT_QUIET_S": "1",
    "AUSCULT_TICK_S": "0.3",
    "AUSCULT_HEARTBEAT_S": "0.5",
    "AUSCULT_RETRY_BACKOFF_S": "0.2",
    "AUSCULT_LOG_FORMAT": "json",
    # It knows no scope: most tests draw films of any shape and size, which the default network rightly refuses.
    "AUSCULT_MODEL": "notebook-1",
    # For the same reason: a ramp is a test pattern. Those who test the gate say "".
    "AUSCULT_GATE_POLICY": "TEST_PATTERN=accept,INVERTED_PICTURE=accept",
}
DEFAULT_MODEL = str(Settings.model_fields["model"].default)


@dataclass(slots=True)
class Site:
    """A data folder and its settings; the commands run in it."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command of this site."""
        return {**os.environ, **QUICK, "AUSCULT_HOME": str(self.home), **self.env}

    @property
    def database_url(self) -> str:
        """Where the site's database is."""
        return self.env.get("AUSCULT_DATABASE_URL") or f"sqlite:///{quote(str(self.home / 'auscult.db'))}"

    def run(self, *arguments: str | Path, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; fails unless it ends with ``check`` (None: any exit code)."""
        words, environment = [str(argument) for argument in arguments], self.environment
        found = launched(words, environment)
        done = (
            subprocess.CompletedProcess(command(*arguments), *found)
            if found
            else subprocess.run(
                command(*arguments), env=environment, capture_output=True, text=True, timeout=300, check=False
            )
        )
        if check is not None and done.returncode != check:
            msg = f"auscult {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            raise AssertionError(msg)
        return done

    def json(self, *arguments: str | Path, check: int | None = 0) -> Any:
        """Run a command with --json and read its one document."""
        return json.loads(self.run(*arguments, "--json", check=check).stdout)

    def query(self, sql: str, **values: Any) -> list[Mapping[str, Any]]:
        """Ask the site's database."""
        engine = create_engine(self.database_url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with engine.connect() as connection:
                return [dict(row) for row in connection.execute(text(sql), values).mappings()]
        finally:
            engine.dispose()

    def execute(self, *statements: str) -> None:
        """Run statements one after the other on one connection, in a transaction that is rolled back."""
        engine = create_engine(self.database_url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.execute(text(statement))
        finally:
            engine.dispose()

    def worklist(self) -> dict[str, Mapping[str, Any]]:
        """The worklist by Study Instance UID."""
        return {row["study_uid"]: row for row in self.query("SELECT * FROM worklist")}

    def wait_terminal(self, studies: int, timeout_s: float = 120.0) -> dict[str, Mapping[str, Any]]:
        """Wait until so many studies are on the worklist and all of them terminal."""

        def settled() -> dict[str, Mapping[str, Any]] | None:
            rows = self.worklist()
            return rows if len(rows) >= studies and all(row["ai_status"] in TERMINAL for row in rows.values()) else None

        return wait_until(settled, timeout_s, f"{studies} terminal studies")

    @contextmanager
    def running(self, *arguments: str, log: str = "up.log") -> Iterator[Running]:
        """A command that serves (``up``, ``listen``, ``work``), ended by SIGTERM afterwards."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.home.parent / log
        with path.open("ab") as stream:
            process = subprocess.Popen(
                command(*arguments), env=self.environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
            running = Running(self, process, path)
            try:
                yield running
            finally:
                running.stop()


@dataclass(slots=True)
class Running:
    """A serving command and its log."""

    site: Site
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        """The port the listener is bound to, once it is."""
        path = self.site.home / "run" / "listener.port"

        def bound() -> int | None:
            if self.process.poll() is not None:
                msg = f"Auscult ended with {self.process.returncode}:\n{self.text()[-4000:]}"
                raise AssertionError(msg)
            return read_port(path)

        return wait_until(bound, START_TIMEOUT_S, "the listener's port")

    def text(self) -> str:
        """Everything logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def descendants(self) -> list[psutil.Process]:
        """Every process below this command."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> int:
        """End by SIGTERM, as systemd does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return int(self.process.returncode)

    def kill(self) -> None:
        """SIGKILL to the whole tree: nothing gets to clean up."""
        tree = [*self.descendants(), psutil.Process(self.process.pid)] if self.process.poll() is None else []
        for process in tree:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        # The process itself is waited for by its Popen, which otherwise never learns the exit code.
        psutil.wait_procs(tree[:-1], timeout=STOP_TIMEOUT_S)
        self.process.wait(STOP_TIMEOUT_S)


def role(process: psutil.Process) -> str:
    """What a process of `auscult up` is, by its title: listen, work, child (of a worker), fork server, broker; "": ended."""
    try:
        title, parent = " ".join(process.cmdline()), process.parent()
    except psutil.NoSuchProcess:
        return ""
    # Celery gives its processes titles of their own, with the arguments in brackets; a child has its parent's at first.
    found = re.match(r"auscult (listen|work|fork server)\b|.*:(?:MainProcess|ForkPoolWorker).*", title)
    name = (found[1] or "work") if found else "broker"
    return "child" if name == "work" and parent and role(parent) == "work" else name


def command(*arguments: str | Path) -> list[str]:
    """The command line of ``auscult`` with this very Python."""
    return [sys.executable, "-m", "worker.cli", *map(str, arguments)]
