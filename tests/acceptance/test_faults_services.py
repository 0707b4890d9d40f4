"""Database and broker may go away at any moment, and messages get lost or come five times: the end is the same."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from sqlalchemy import make_url

from tests.support.listening import answers
from tests.support.postgres import own_postgres
from tests.support.redis_server import own_redis
from tests.support.running import Site
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until
from worker.queue.hints import HintPublisher
from worker.queue.message import QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom.dataset import Dataset

    from tests.support.postgres import PostgresServer
    from tests.support.redis_server import RedisServer
    from tests.support.running import Running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

FILMS = 6


class Stack:
    """A site on servers of its own: a listener that runs all the time, workers when a test wants them."""

    def __init__(self, site: Site, postgres: PostgresServer, broker: RedisServer) -> None:
        self.site, self.postgres, self.broker = site, postgres, broker
        self.listener: Running | None = None

    @property
    def port(self) -> int:
        assert self.listener is not None
        return self.listener.port

    @contextmanager
    def working(self) -> Iterator[Running]:
        with self.site.running("work", log="work.log") as work:
            yield work

    def hints(self) -> int:
        """Messages that wait in the broker."""
        with redis.Redis.from_url(self.broker.client_url) as client:
            queues = list(client.scan_iter(f"{QUEUE}*"))
            return sum(int(client.llen(name)) for name in queues)

    def beats(self) -> int:
        """Workers that have said in SQL that they live."""
        return len(self.site.query("SELECT id FROM worker"))

    def waits(self, loop: str) -> int:
        """How often a loop of the listener has begun to wait for what it needs."""
        assert self.listener is not None
        return self.listener.text().count(f"{loop} waits")

    def set_read_only(self, word: str) -> None:
        """Make the site's database read-only, or not, as a failover to a standby does; all sessions end."""
        name = make_url(self.site.database_url).database
        server = self.postgres.url().replace("+psycopg", "")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {word}")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    def tasks(self, films: Sequence[Dataset]) -> list[int]:
        uids = {film.StudyInstanceUID for film in films}
        rows = self.site.query(
            "SELECT task.id, study_uid FROM task JOIN image ON image.id = task.image_id "
            "JOIN study ON study.id = image.study_id ORDER BY task.id"
        )
        return [row["id"] for row in rows if row["study_uid"] in uids]

    def wait_registered(self, films: Sequence[Dataset]) -> list[int]:
        wait_until(lambda: len(self.tasks(films)) == len(films), 60, "a task for every film")
        return self.tasks(films)

    def assert_each_judged_once(self, films: Sequence[Dataset], attempts: int | None = None) -> None:
        """Every film's study is FINAL, with one result that is current."""
        uids = {str(film.StudyInstanceUID) for film in films}
        self.wait_final(uids)
        rows = [row for row in self.site.query("SELECT * FROM result_history") if row["study_uid"] in uids]
        assert sorted(row["study_uid"] for row in rows) == sorted(uids)
        assert all(row["is_current"] and row["outcome"] == "OK" for row in rows)
        if attempts:
            assert {row["attempts"] for row in rows} == {attempts}

    def wait_final(self, uids: set[str]) -> None:
        def is_final() -> bool:
            rows = self.site.worklist()
            return all(uid in rows and rows[uid]["ai_status"] == "FINAL" for uid in uids)

        wait_until(is_final, 90, "every study to be final")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Auscult on a PostgreSQL and a Redis that the tests may stop; no worker yet."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-away-", dir="/tmp"))
    with own_postgres() as postgres, own_redis() as broker:
        env = {"AUSCULT_DATABASE_URL": postgres.create_database(), "AUSCULT_BROKER_URL": broker.url}
        stack = Stack(Site(folder / "home", env), postgres, broker)
        stack.site.run("migrate")
        with stack.site.running("listen", log="listen.log") as stack.listener:
            yield stack
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def work(stack: Stack) -> Iterator[Running]:
    """One worker for the tests that look at a fault while it works; the tests that start their own come before."""
    with stack.working() as work:
        yield work


def films(count: int = FILMS) -> list[Dataset]:
    return [chest_film(number / count) for number in range(count)]


def test_a_hint_that_comes_five_times_makes_one_result(stack: Stack) -> None:
    sent = films()
    push(sent, stack.port)
    stack.wait_registered(sent)
    publisher = HintPublisher(stack.broker.url)
    for _ in range(5 * FILMS):
        publisher.publish()
    publisher.close()
    assert stack.hints() >= 5 * FILMS
    with stack.working():
        stack.assert_each_judged_once(sent, attempts=1)
        wait_until(lambda: stack.hints() == 0, 60, "every message to be taken")
        stack.assert_each_judged_once(sent, attempts=1)


def test_every_study_ends_when_the_broker_forgets_the_queued_hints(stack: Stack) -> None:
    sent = films()
    push(sent, stack.port)
    stack.wait_registered(sent)
    wait_until(lambda: stack.hints() > 0, 30, "a hint")
    with redis.Redis.from_url(stack.broker.client_url) as client:
        client.flushall()
    with stack.working():
        stack.assert_each_judged_once(sent)


def test_a_listener_started_without_its_database_serves_and_registers_once_it_is_there(stack: Stack) -> None:
    sent = films(2)
    other = Site(stack.site.home.parent / "other", dict(stack.site.env))
    stack.postgres.stop()
    try:
        with other.running("listen", log="other.log") as listener:
            assert answers(listener.port)
            push(sent, listener.port)
            assert len(list((other.home / "spool" / "new").iterdir())) == 2
            stack.postgres.start()
            assert len(stack.wait_registered(sent)) == 2
            wait_until(lambda: not list((other.home / "spool" / "new").iterdir()), 30, "an empty spool")
    finally:
        stack.postgres.start()


def test_a_worker_started_without_its_database_waits_and_works_once_it_is_there(stack: Stack) -> None:
    stack.postgres.stop()
    try:
        with stack.site.running("work", log="late.log") as late:
            wait_until(lambda: "waiting for it" in late.text(), 60, "the worker to say that it waits")
            stack.postgres.start()
            sent = films(1)
            push(sent, stack.port)
            stack.assert_each_judged_once(sent)
    finally:
        stack.postgres.start()


def test_every_study_ends_when_the_broker_is_killed_during_pushes_and_comes_back_empty(
    stack: Stack, work: Running
) -> None:
    sent = films(12)

    def kill_in_the_middle(done: int) -> None:
        if done == 4:
            stack.broker.kill()

    push(sent, stack.port, kill_in_the_middle)
    assert stack.broker.process is None
    stack.wait_registered(sent)
    stack.broker.start()
    stack.assert_each_judged_once(sent)
    assert work.process.poll() is None


def test_pushes_are_answered_with_success_while_postgresql_is_down_and_registered_after_its_restart(
    stack: Stack, work: Running
) -> None:
    sent = films(12)

    def stop_in_the_middle(done: int) -> None:
        if done == 4:
            stack.postgres.stop()

    push(sent, stack.port, stop_in_the_middle)
    assert stack.postgres.process is None
    assert len(list((stack.site.home / "spool" / "new").iterdir())) >= 8
    assert answers(stack.port)
    stack.postgres.start()
    stack.assert_each_judged_once(sent)
    assert work.process.poll() is None
    wait_until(lambda: not list((stack.site.home / "spool" / "new").iterdir()), 30, "an empty spool")


def test_a_read_only_database_stops_neither_the_listener_nor_a_workers_heartbeat(stack: Stack, work: Running) -> None:
    sent = films(2)
    wait_until(stack.beats, 60, "the first heartbeat")
    before, missed, told = stack.waits("registrar"), _count(work, "heartbeat waits"), _count(work, "heartbeat goes on")
    stack.set_read_only("on")
    push(sent, stack.port)
    wait_until(lambda: _count(work, "heartbeat waits") > missed, 60, "a missed heartbeat")
    wait_until(lambda: stack.waits("registrar") > before, 60, "a failed turn of the registrar")
    assert answers(stack.port)
    stack.set_read_only("off")
    stack.assert_each_judged_once(sent)
    wait_until(lambda: _count(work, "heartbeat goes on") > told, 60, "the next heartbeat")
    assert stack.listener is not None
    assert (work.process.poll(), stack.listener.process.poll()) == (None, None)


def _count(running: Running, words: str) -> int:
    return running.text().count(words)


@pytest.mark.parametrize(
    ("ill", "well"),
    [
        pytest.param("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", id="full"),
        pytest.param("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", id="a read-only replica"),
        pytest.param("CONFIG SET requirepass x", "CONFIG SET requirepass ''", id="another password"),
    ],
)
def test_a_worker_outlives_a_broker_that_takes_nothing(stack: Stack, work: Running, ill: str, well: str) -> None:
    with redis.Redis.from_url(stack.broker.client_url, single_connection_client=True) as broker:
        wait_until(stack.beats, 60, "the first heartbeat")
        before = stack.waits("dispatcher")
        broker.execute_command(*shlex.split(ill))
        # Whoever is connected has to ask again.
        broker.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        sent = films(1)
        push(sent, stack.port)
        wait_until(lambda: stack.waits("dispatcher") > before, 60, "a hint that is not taken")
        broker.execute_command(*shlex.split(well))
        stack.assert_each_judged_once(sent)
        assert work.process.poll() is None
