"""A database whose packets vanish holds nobody for ever: the kernel's and libpq's bounds end the wait."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import make_url, text

from tests.support.black_hole import Link
from tests.support.postgres import own_postgres
from tests.support.waiting import wait_until
from worker.db.schema.engine import make_engine
from worker.db.schema.postgresql import CONNECT_TIMEOUT_S
from worker.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import URL

    from tests.support.postgres import PostgresServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="packets vanish by a filter of Linux"),
]

#: The bounds of the engine, shorter: those of `worker.db.schema.postgresql` are half a minute and more.
SHORT = {"tcp_user_timeout": "1500", "keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "2"}
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with own_postgres(tcp=True) as running:
        yield running


@pytest.fixture
def link(server: PostgresServer) -> Iterator[Link]:
    with Link(("127.0.0.1", server.port)).running() as running:
        yield running


@pytest.fixture
def url(server: PostgresServer, link: Link) -> URL:
    return make_url(server.url()).set(port=link.port)


def test_a_question_into_a_dead_link_ends_and_the_next_one_goes_another_way(url: URL, link: Link) -> None:
    engine = make_engine(url.update_query_dict(SHORT))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
        link.cut()
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            connection.execute(text("SELECT 2"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 3")).scalar_one() == 3
    engine.dispose()


def test_a_connection_of_the_pool_whose_link_died_is_replaced_unseen(url: URL, link: Link) -> None:
    engine = make_engine(url.update_query_dict(SHORT))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    link.cut()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 2")).scalar_one() == 2
    engine.dispose()


def test_who_waits_for_an_answer_when_the_link_dies_does_not_wait_for_ever(
    url: URL, link: Link, server: PostgresServer
) -> None:
    engine = make_engine(url.update_query_dict(SHORT))
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_sleep(600)"))
        except DatabaseUnavailable as error:
            ended.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as watching:
        wait_until(lambda: watching.execute(SLEEPING).fetchone() == (1,), 60, "the question to reach the server")
        link.cut()
        asking.join(90)
        assert [type(error) for error in ended] == [DatabaseUnavailable]
        watching.execute(f"SELECT pg_terminate_backend(pid) FROM ({SLEEPING.replace('count(*)', 'pid')}) AS left_over")
    engine.dispose()


def test_the_bounds_of_an_ordinary_connection_stand_on_its_socket(url: URL) -> None:
    engine = make_engine(url)
    raw = engine.raw_connection()
    driver = raw.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with socket.socket(fileno=os.dup(driver.fileno())) as own:
        found = {
            name: own.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        }
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert found == {"TCP_USER_TIMEOUT": 30_000, "TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    assert CONNECT_TIMEOUT_S == 5
    raw.close()
    engine.dispose()


def test_a_command_before_a_server_that_accepts_and_says_nothing_ends_with_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        own = {
            "AUSCULT_HOME": str(tmp_path / "home"),
            "AUSCULT_DATABASE_URL": f"postgresql://auscult@127.0.0.1:{silent.getsockname()[1]}/auscult",
        }
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli", "worklist"],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not answer" in done.stderr
