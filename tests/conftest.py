"""What every test gets: a clean environment, no network but this machine's, and real servers where it asks for them."""

from __future__ import annotations

import ipaddress
import logging
import os
import platform
import random
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.compiled_once import compile_once
from tests.support.database import BOTH, migrated_copy
from tests.support.long_files import long_files
from tests.support.postgres import postgres
from tests.support.redis_server import redis_server
from worker.database import connect
from worker.models.active import ensure_active_model
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.postgres import ExternalPostgres, PostgresServer
    from tests.support.redis_server import ExternalRedis, RedisServer
    from worker.database import Database

DATA = "AUSCULT_TEST_DATA"
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
SEED = 20260101


def pytest_configure() -> None:
    """Take the developer's own settings away before anything of ours is imported; child processes inherit the rest."""
    for name in list(os.environ):
        if name.startswith("AUSCULT_") and name != DATA:
            del os.environ[name]
    # A terminal of another width or colour must not change what the programs print.
    os.environ.update(COLUMNS="160", NO_COLOR="1", TERM="dumb", TF_CPP_MIN_LOG_LEVEL="3")
    os.environ.pop("FORCE_COLOR", None)
    # Hundreds of processes start in the tests: each would compile TensorFlow, SQLAlchemy and our own code again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # A test that forgets to name a data folder must not touch the developer's.
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="auscult-xdg-")
    compile_once()


def pytest_unconfigure() -> None:
    """Remove the stand-in for the user's data folder."""
    shutil.rmtree(os.environ["XDG_DATA_HOME"], ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, by name, the tests of TensorFlow where it has no wheel; elsewhere a missing TensorFlow is a failure."""
    if hasattr(config, "workerinput"):
        # pytest-xdist hands files out in this order: a long one that came last would leave the other processes idle.
        seconds = long_files()
        items.sort(key=lambda item: -seconds.get(item.nodeid.partition("::")[0], 0))
    if sys.platform == "linux" and platform.machine() == "x86_64":
        return
    skip = pytest.mark.skip(reason=f"tensorflow-cpu has no wheel for {sys.platform} {platform.machine()}")
    for item in items:
        if item.get_closest_marker("tensorflow"):
            item.add_marker(skip)


def _is_this_machine(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    host = str(address[0]).partition("%")[0]
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def _this_machine_only() -> Iterator[None]:
    """Let no test reach another machine: what passes here must pass without a network."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("connect", "connect_ex", "sendto"):
            real = getattr(socket.socket, name)

            def guarded(self: socket.socket, *arguments: Any, _real: Callable[..., Any] = real) -> Any:
                if self.family != socket.AF_UNIX and not _is_this_machine(arguments[-1]):
                    raise PermissionError(f"a test may not reach {arguments[-1]}")
                return _real(self, *arguments)

            monkeypatch.setattr(socket.socket, name, guarded)
        yield


@pytest.fixture(autouse=True)
def _own_log_levels() -> Iterator[None]:
    """Undo how quiet a command run in this process has made the log."""
    loggers = [logging.getLogger(name) for name in ("", "worker", "worker.progress", "dicom_io", "model")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        if logger.level != level:  # a level that is set costs a look at every logger there is
            logger.setLevel(level)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Make what is random the same in every run; a test that needs numpy's takes a generator of its own."""
    random.seed(SEED)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of films and DICOM files that AUSCULT_TEST_DATA names."""
    named = os.environ.get(DATA)
    if not named:
        pytest.skip(f"{DATA} is not set: this test needs the films and DICOM files it would name")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"{DATA} names {folder}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Find a program of the system; without it the test is skipped by name, and fails where CI is set."""
    ours = Path(sys.executable).parent
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder and Path(folder) != ours]

    def find(name: str) -> str:
        # Not from our environment: pynetdicom brings programs of dcmtk's names.
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found is None:
            (pytest.fail if IN_CI else pytest.skip)(f"the program {name} is not installed")
        return str(found)

    return find


@pytest.fixture
def auscult_home() -> Iterator[Path]:
    """An empty data folder whose path is short enough for the unix socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-home-", dir="/tmp"))
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | ExternalPostgres]:
    """One PostgreSQL for the session; a test that stops or kills it takes `tests.support.postgres.own_postgres()` instead."""
    with postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer | ExternalPostgres) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'auscult.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=BOTH)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own with the schema of this release, on SQLite and on PostgreSQL."""
    with migrated_copy(request, request.param, tmp_path / "auscult.db") as url:
        yield url


@pytest.fixture
def database(migrated_url: str, tmp_path: Path) -> Iterator[Database]:
    """A migrated database with its active model."""
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url)
    opened = connect(settings)
    ensure_active_model(settings, opened)
    yield opened
    opened.dispose()


@pytest.fixture(scope="session")
def _redis_session() -> Iterator[RedisServer | ExternalRedis]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_url(_redis_session: RedisServer | ExternalRedis) -> str:
    """An empty Redis-compatible server, as a URL for Celery."""
    _redis_session.flush()
    return _redis_session.url
