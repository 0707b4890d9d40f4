"""The dispatcher's hints as the broker holds them: as many as there are workers and films that wait, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection
from sqlalchemy import event

from tests.support.database import BOTH, fresh_site, scored
from worker.db.models import bundles as models
from worker.db.models.bundles import Order
from worker.db.tasks import queue, shadow
from worker.db.tasks.workers import WorkerBeat, heartbeat
from worker.queue import dispatcher as queue_dispatcher
from worker.queue.dispatcher import Dispatcher, DispatchOptions
from worker.queue.hints import BrokerAway, HintPublisher
from worker.queue.message import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.database import Site

pytestmark = pytest.mark.integration

#: No turn repairs but the first: what is asked here is what a turn does at once when it is woken.
OPTIONS = DispatchOptions(tick_s=3600, max_attempts=3, silent_after_ms=10_000)


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def publisher(redis_url: str) -> Iterator[HintPublisher]:
    publisher = HintPublisher(redis_url)
    yield publisher
    publisher.close()


def with_workers(site: Site, number: int) -> None:
    for name in range(number):
        heartbeat(site.sessions, WorkerBeat(f"w{name}", "host", name, "celery", "", "litert", None, 0))


@pytest.mark.parametrize(("films", "workers", "hints"), [(0, 2, 0), (1, 2, 1), (8, 2, 2), (8, 0, 1), (3, 5, 3)])
def test_a_hint_waits_for_each_worker_as_long_as_so_much_work_is_due(
    site: Site, publisher: HintPublisher, films: int, workers: int, hints: int
) -> None:
    with_workers(site, workers)
    entries = [site.receive(f"1.{number}", f"1.{number}.1") for number in range(films)]
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    for _ in range(3):
        dispatcher.turn()
        assert publisher.waiting() == hints
    for entry in entries:
        site.finish(entry.task_id, scored(0.1))
    take_all(publisher)
    dispatcher.turn()
    assert publisher.waiting() == 0


def take_all(publisher: HintPublisher) -> None:
    """Take every message, as a worker does, or a broker that forgets them."""
    with Connection(publisher.url) as connection:
        channel: Any = connection.default_channel
        channel.client.delete(QUEUE)


def test_hints_that_the_broker_forgot_are_sent_again_by_the_next_turn(site: Site, publisher: HintPublisher) -> None:
    site.receive()
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    dispatcher.turn()
    with Connection(publisher.url) as connection:
        channel: Any = connection.default_channel
        channel.client.flushall()
    dispatcher.turn()
    assert publisher.waiting() == 1


def test_a_shadow_that_ended_is_hinted_at_no_more(site: Site, publisher: HintPublisher) -> None:
    second = site.add_model("2")
    order = Order("ada", "")
    with site.sessions.begin() as session:
        shadow.start_shadow(session, second, order)
    entry = site.receive()
    with site.sessions.begin() as session:
        shadow.end_shadow(session, second, order)
        models.retire(session, second, order)
    site.finish(entry.task_id, scored(0.1))
    Dispatcher(site.sessions, publisher, OPTIONS).turn()
    assert publisher.waiting() == 0


def test_many_complete_studies_are_settled_a_few_at_a_time_between_hints(
    site: Site, publisher: HintPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_dispatcher, "SETTLE_LIMIT", 2)
    for number in range(3):
        site.receive(f"1.{number}", f"1.{number}.1")
    site.change("UPDATE study SET state = 'RECEIVING'")
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    assert dispatcher.turn(), "a further turn follows at once"
    assert publisher.waiting() == 1
    assert not dispatcher.turn()
    assert {row["state"] for row in site.rows("SELECT state FROM study")} == {"QUEUED"}


def test_a_turn_between_two_ticks_sends_hints_and_repairs_nothing(site: Site, publisher: HintPublisher) -> None:
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    dispatcher.turn()
    site.receive()
    site.change("UPDATE study SET state = 'RECEIVING'")
    dispatcher.turn()
    assert (publisher.waiting(), site.entry()["ai_status"]) == (1, "RECEIVING")


def statements_of(site: Site, work: Callable[[], object]) -> int:
    """How many statements `work` executes."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(site.engine, "before_cursor_execute", note)
    work()
    event.remove(site.engine, "before_cursor_execute", note)
    return len(asked)


def test_while_a_hint_waits_for_each_worker_a_turn_between_two_ticks_asks_the_broker_alone(
    site: Site, publisher: HintPublisher
) -> None:
    """The registrar wakes the dispatcher after each group of films of a burst."""
    with_workers(site, 2)
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    for number in range(3):
        site.receive(f"1.{number}", f"1.{number}.1")
    dispatcher.turn()
    assert publisher.waiting() == 2
    assert statements_of(site, dispatcher.turn) == 0
    take_all(publisher)
    dispatcher.turn()
    assert publisher.waiting() == 2


def test_a_broker_that_takes_nothing_fails_a_turn_also_where_nothing_is_due(site: Site, redis_url: str) -> None:
    publisher = HintPublisher(redis_url)
    publisher.waiting()
    with Connection(redis_url) as connection:
        channel: Any = connection.default_channel
        channel.client.config_set("maxmemory", 1)
        try:
            with pytest.raises(BrokerAway):
                Dispatcher(site.sessions, publisher, OPTIONS).turn()
        finally:
            channel.client.config_set("maxmemory", 0)
    publisher.close()


def test_what_is_seldom_needed_is_looked_for_at_the_first_turn_and_then_seldom(
    site: Site, publisher: HintPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("worker.queue.dispatcher.time.monotonic", lambda: now)
    asked: list[str] = []

    def noted(name: str, real: Callable[..., int]) -> Callable[..., int]:
        def step(*arguments: object) -> int:
            asked.append(name)
            return real(*arguments)

        return step

    for name, real in (("rewind", queue.rewind), ("settle_studies", queue.settle_studies)):
        monkeypatch.setattr(queue, name, noted(name, real))
    dispatcher = Dispatcher(site.sessions, publisher, replace(OPTIONS, tick_s=2.0))
    for _ in range(11):
        dispatcher.turn()
        now += 2.0
    assert asked.count("settle_studies") == 11
    assert asked.count("rewind") == 3
