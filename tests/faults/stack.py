"""A whole Auscult under test: `auscult up` on SQLite with its own broker, or on a PostgreSQL and a Redis of our own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import create_engine, text

from tests.faults.hook import seams
from tests.faults.host import Host
from tests.support.postgres import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.running import Running, Site, command, role
from tests.support.waiting import wait_until
from worker.runfiles import read_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

HOOK = Path(seams.__file__).parent
SQLITE, POSTGRESQL = "sqlite", "postgresql"
LEASE_S = 3
#: Short waits, so that a round takes seconds; the model and the gate are those of an installation.
SETTINGS = {
    "AUSCULT_MODEL": "auscult-2",
    "AUSCULT_GATE_POLICY": "",
    "AUSCULT_QUIET_S": "1.5",
    "AUSCULT_LEASE_S": str(LEASE_S),
    "AUSCULT_TASK_LIMIT_S": "10",
    "AUSCULT_NETWORK_TIMEOUT_S": "5",
    "AUSCULT_PDU_TIMEOUT_S": "3",
    "AUSCULT_REQUEST_TIMEOUT_S": "3",
    "AUSCULT_FILM_MEMORY_MB": "256",
    "AUSCULT_MAX_ATTEMPTS": "5",
}
READY_S = 180.0


class Order:
    """What one process is to do when it comes to a seam."""

    _numbers = itertools.count(1)

    def __init__(self, folder: Path, seam: str, action: str, nth: int) -> None:
        self._folder = folder
        self.seam = seam
        self._number = f"{os.getpid()}-{next(self._numbers)}"
        draft = folder / f"draft-{self._number}"
        draft.write_text(json.dumps({"number": self._number, "seam": seam, "action": action, "nth": nth}))
        draft.rename(folder / seams.ORDER)

    @property
    def pid(self) -> int | None:
        """The process that took the order, once it has."""
        with suppress(FileNotFoundError, ValueError):
            return int((self._folder / f"pid-{self._number}").read_text())
        return None

    def wait(self, timeout_s: float) -> int | None:
        """The process that took the order; None, and the order is withdrawn, where none came to the seam in time."""
        with suppress(AssertionError):
            return wait_until(lambda: self.pid, timeout_s, "a process to take the order")
        with suppress(FileNotFoundError):
            (self._folder / seams.ORDER).rename(self._folder / f"withdrawn-{self._number}")
            return None
        return wait_until(lambda: self.pid, 60, "the process that took the order to say so")


class Stack:
    """A site with its servers, which a round may hurt and has to heal."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.root = Path(tempfile.mkdtemp(prefix="auscult-faults-", dir="/tmp"))
        self.orders = self.root / "orders"
        self.orders.mkdir()
        self._exits = ExitStack()
        self._exits.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.postgres: PostgresServer | None = None
        self.redis: RedisServer | None = None
        self.up: Running | None = None
        #: What the processes of the site see of their host, and what PostgreSQL sees of its.
        self.host = Host(self._exits, self.root / "home")
        self.database_host: Host | None = None
        hook = {**self.host.environment, "PYTHONPATH": str(HOOK), "FAULTS_ORDERS": str(self.orders)}
        self.site = Site(self.root / "home", {**SETTINGS, **hook})
        self.store = self.site.home / "store"
        if database == POSTGRESQL:
            # From the main thread: the servers end with the thread that started them.
            environment = dict(os.environ)
            server = PostgresServer(environment=environment)
            # The tables and indexes, and not the write-ahead log, which PostgreSQL has on a disk of its own here.
            self.database_host = Host(self._exits, server.data / "base")
            environment.update(self.database_host.environment)
            self.postgres = self._exits.enter_context(server.running())
            self.redis = self._exits.enter_context(RedisServer().running())
            self.site.env["AUSCULT_DATABASE_URL"] = self.postgres.create_database()
            self.site.env["AUSCULT_BROKER_URL"] = self.redis.url
            self.site.run("migrate")
        self.engine = create_engine(self.site.database_url, pool_size=2, pool_pre_ping=True)
        self._exits.callback(self.engine.dispose)

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        self._exits.close()

    @property
    def is_sqlite(self) -> bool:
        return self.database == SQLITE

    def start(self) -> None:
        """Start `auscult up` and wait until it listens."""
        self.site.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.up = self.spawn("up", "--processes", "2", log="up.log")
        assert self.port_now(READY_S), self.log()[-4000:]

    def spawn(self, *arguments: str, log: str, site: Site | None = None) -> Running:
        """Start a command of this site, or of another one whose log is to be kept with this one's."""
        path, site = self.root / log, site or self.site
        with path.open("ab") as stream:
            process = subprocess.Popen(
                command(*arguments), env=site.environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        return Running(site, process, path)

    def kill(self) -> None:
        """SIGKILL to every process of the site."""
        if self.up:
            for pid in self.pids():
                # A stopped process dies of SIGKILL too.
                _signal(pid, signal.SIGKILL)
            self.up.kill()

    @property
    def has_ended(self) -> bool:
        """Whether `auscult up` does not run."""
        return self.up is None or self.up.process.poll() is not None

    def revive(self) -> None:
        """Start the site again if its supervisor ended."""
        if self.has_ended:
            self._wait_children_gone()
            self.start()
        else:
            assert self.port_now(READY_S), self.log()[-4000:]

    def heal(self) -> None:
        """Undo what a fault may have left: stopped processes, stopped servers, an order that nobody took."""
        self.host.heal()
        if self.database_host:
            self.database_host.heal()
        signal_all(self.pids(), signal.SIGCONT)
        for server in (self.postgres, self.redis):
            if server and server.process:
                signal_all(_tree(server.process.pid), signal.SIGCONT)
            elif server:
                server.start()
        with suppress(FileNotFoundError):
            (self.orders / seams.ORDER).unlink()

    def clock_s(self) -> float:
        """The host's clock as the processes of the site see it."""
        return time.time() + self.host.clock_s

    def _wait_children_gone(self) -> None:
        """The children die with the supervisor; a start beside a dying one would find the data folder in use."""
        wait_until(lambda: not _of_home(str(self.site.home)), 30, "the children of the ended supervisor to end")

    def port_now(self, timeout_s: float = 0.0) -> int | None:
        """The port of the listener that lives now; None where none does within the time."""
        return port_of(self.site, timeout_s)

    def pids(self, wanted: str = "") -> list[int]:
        """The processes of the site: all, or those of one role (`tests.support.running.role`)."""
        if self.up is None or self.has_ended:
            return []
        found: list[int] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.up.process.pid).children(recursive=True)
            found = [process.pid for process in family if wanted in ("", role(process))]
        return found

    def order(self, seam: str, action: str, nth: int = 1) -> Order:
        """Give an order; the one before has been taken or withdrawn."""
        assert not (self.orders / seams.ORDER).exists()
        return Order(self.orders, seam, action, nth)

    def rows(self, sql: str, **values: Any) -> list[Mapping[str, Any]]:
        """Ask the database."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(sql), values).mappings()]

    def log(self) -> str:
        """Everything that `auscult up` logged."""
        return (self.root / "up.log").read_text(errors="replace")


def port_of(site: Site, timeout_s: float = 0.0) -> int | None:
    """The port of a site's live listener; None where none lives within the time."""
    found = site.home / "run" / "listener.port"
    with suppress(AssertionError):
        return wait_until(lambda: read_port(found), timeout_s, "the port of a listener")
    return None


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        _signal(pid, number)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _tree(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def _of_home(home: str) -> list[int]:
    """The live Python processes whose environment names this data folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.environ().get("AUSCULT_HOME") == home
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
