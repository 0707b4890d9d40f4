"""Faults of database and broker."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psutil
import psycopg
import redis
from sqlalchemy import make_url

from tests.faults.stack import POSTGRESQL, SQLITE, signal_all
from tests.faults.turn import Turn, kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer
    from tests.support.redis_server import RedisServer
    from tests.support.servers import OwnServer

DATABASE, BROKER = "database", "broker"
#: How long a server is away; longer than leases and heartbeats.
AWAY_S = 4.0
NO_SPACE = "No space left on device"


def _away(turn: Turn) -> None:
    """Let the site work without what is away, for as long as an outage is to last."""
    turn.senders.wait_silence(AWAY_S)


def _postgres(turn: Turn) -> PostgresServer:
    assert turn.stack.postgres is not None
    return turn.stack.postgres


def _redis(turn: Turn) -> RedisServer:
    assert turn.stack.redis is not None
    return turn.stack.redis


@kind("PostgreSQL restarted", DATABASE, databases=(POSTGRESQL,))
def restart_postgres(turn: Turn) -> None:
    turn.part_way()
    _postgres(turn).stop()
    _away(turn)
    _postgres(turn).start()


@kind("PostgreSQL crashes and recovers", DATABASE, databases=(POSTGRESQL,), short=(POSTGRESQL,))
def crash_postgres(turn: Turn) -> None:
    turn.part_way()
    _postgres(turn).kill()
    _postgres(turn).start()


@kind("PostgreSQL stands still", DATABASE, databases=(POSTGRESQL,))
def freeze_postgres(turn: Turn) -> None:
    turn.part_way()
    with _frozen(_postgres(turn)):
        _away(turn)


@contextmanager
def _frozen(server: OwnServer) -> Iterator[None]:
    assert server.process is not None
    root = psutil.Process(server.process.pid)
    stopped = [root.pid, *(child.pid for child in root.children(recursive=True))]
    signal_all(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(stopped, signal.SIGCONT)


@contextmanager
def _administrator(turn: Turn) -> Iterator[tuple[psycopg.Connection, str]]:
    name = make_url(turn.stack.site.database_url).database
    with psycopg.connect(_postgres(turn).url().replace("+psycopg", ""), autocommit=True) as connection:
        yield connection, str(name)


@kind("connections to PostgreSQL cut again and again", DATABASE, databases=(POSTGRESQL,), short=(POSTGRESQL,))
def cut_connections(turn: Turn) -> None:
    with _administrator(turn) as (connection, name):
        for _ in range(5):
            turn.part_way()
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


@kind("PostgreSQL becomes read-only", DATABASE, databases=(POSTGRESQL,))
def make_read_only(turn: Turn) -> None:
    turn.part_way()
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with _administrator(turn) as (connection, name):
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connection.execute(cut, (name,))
        try:
            _away(turn)
        finally:
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            connection.execute(cut, (name,))


@kind("disk of PostgreSQL full", DATABASE, databases=(POSTGRESQL,), needs_shim=True)
def fill_postgres(turn: Turn) -> None:
    turn.part_way()
    assert turn.stack.database_host is not None
    log = _postgres(turn).root / "server.log"
    before = log.read_text(errors="replace").count(NO_SPACE)
    turn.stack.database_host.set("is_full", 1)
    _away(turn)
    turn.note(f"{log.read_text(errors='replace').count(NO_SPACE) - before} writes refused")


@kind("SQLite locked by another program", DATABASE, databases=(SQLITE,))
def lock_sqlite(turn: Turn) -> None:
    turn.part_way()
    with closing(sqlite3.connect(turn.stack.site.home / "auscult.db", timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        _away(turn)
        other.execute("ROLLBACK")


@kind("Redis flushed", BROKER, databases=(POSTGRESQL,))
def flush_redis(turn: Turn) -> None:
    for _ in range(3):
        turn.part_way()
        _redis(turn).flush()


@kind("Redis killed, back empty after a while", BROKER, databases=(POSTGRESQL,))
def kill_redis(turn: Turn) -> None:
    turn.part_way()
    _redis(turn).kill()
    _away(turn)
    _redis(turn).start()


@kind("Redis restarted empty at once", BROKER, databases=(POSTGRESQL,))
def restart_redis(turn: Turn) -> None:
    turn.part_way()
    _redis(turn).stop()
    _redis(turn).start()


@kind("Redis stands still", BROKER, databases=(POSTGRESQL,))
def freeze_redis(turn: Turn) -> None:
    turn.part_way()
    with _frozen(_redis(turn)):
        _away(turn)


@kind("Redis at its maxmemory", BROKER, databases=(POSTGRESQL,))
def fill_redis(turn: Turn) -> None:
    turn.part_way()
    with redis.Redis.from_url(_redis(turn).client_url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        _away(turn)
        client.config_set("maxmemory", "0")


@kind("embedded broker stands still", BROKER, databases=(SQLITE,))
def freeze_broker(turn: Turn) -> None:
    turn.part_way()
    stopped = turn.stack.pids("broker")
    signal_all(stopped, signal.SIGSTOP)
    try:
        _away(turn)
    finally:
        signal_all(stopped, signal.SIGCONT)


@kind("link to PostgreSQL silent, then cut", DATABASE, databases=(POSTGRESQL,))
def silence_link(turn: Turn) -> None:
    """Sessions of the site stand still while the server answers others; then they are cut."""
    turn.part_way()
    with _administrator(turn) as (connection, name):
        sessions = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (name,)).fetchall()
        pids = [pid for (pid,) in sessions]
        signal_all(pids, signal.SIGSTOP)
        began = time.monotonic()
        try:
            _away(turn)
        finally:
            turn.note(f"silent for {time.monotonic() - began:.0f} s")
            signal_all(pids, signal.SIGCONT)
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
