"""The dispatcher's hints as the broker holds them: live work by itself, re-runs before the shadow, few films a message."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection

from tests.support.database import BOTH, fresh_site
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.models import bundles as models
from worker.db.models.bundles import Order
from worker.db.tasks import shadow
from worker.queue import dispatcher as queue_dispatcher
from worker.queue.dispatcher import BATCH_HINTS_PER_WORKER, SHADOW_CHUNK, Dispatcher, DispatchOptions
from worker.queue.hints import Held, HintPublisher
from worker.queue.message import BATCH_QUEUE, LIVE_QUEUE

if TYPE_CHECKING:
    from tests.support.database import Site

pytestmark = pytest.mark.integration

OPTIONS = DispatchOptions(tick_s=1, grace_ms=60_000, grace_max_ms=600_000, max_attempts=3, silent_after_ms=10_000)
FILMS = 30


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def waiting(url: str, queue: str) -> list[list[int]]:
    """The task ids of every message of a queue, oldest first, as they lie in Redis."""
    with Connection(url) as connection:
        channel: Any = connection.default_channel
        found = [json.loads(message) for message in reversed(channel.client.lrange(queue, 0, -1))]
    return [json.loads(base64.b64decode(message["body"]))[0][0] for message in found]


def test_live_work_goes_before_reruns_and_those_before_the_shadow(site: Site, redis_url: str) -> None:
    second = site.add_model("2")
    with site.sessions.begin() as session:
        shadow.start_shadow(session, second, Order("ada", ""))
    entries = [site.receive(f"1.{number}", f"1.{number}.1") for number in range(FILMS)]
    with site.sessions.begin() as session:
        batch = reruns.open_batch(
            session, selector=Selector(all=True), model_id=second, who="bob", why="", keep_current=False
        )
        rerun = list(reruns.pending_ids(session, batch.batch_id, 100))
    publisher = HintPublisher(redis_url)
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    dispatcher.turn()
    dispatcher.turn()
    publisher.close()
    assert waiting(redis_url, LIVE_QUEUE) == [[entry.task_id] for entry in entries]
    first, *others = waiting(redis_url, BATCH_QUEUE)
    assert first == rerun
    hinted = [entry.shadow_task_id for entry in entries][: BATCH_HINTS_PER_WORKER * SHADOW_CHUNK]
    assert len(hinted) < FILMS, "a shadow never fills the queue"
    assert others == [hinted[start : start + SHADOW_CHUNK] for start in range(0, len(hinted), SHADOW_CHUNK)]


def test_a_shadow_that_ended_is_hinted_at_no_more(site: Site, redis_url: str) -> None:
    second = site.add_model("2")
    order = Order("ada", "")
    with site.sessions.begin() as session:
        shadow.start_shadow(session, second, order)
    site.receive()
    with site.sessions.begin() as session:
        shadow.end_shadow(session, second, order)
        models.retire(session, second, order)
    publisher = HintPublisher(redis_url)
    Dispatcher(site.sessions, publisher, OPTIONS).turn()
    publisher.close()
    assert len(waiting(redis_url, LIVE_QUEUE)) == 1
    assert waiting(redis_url, BATCH_QUEUE) == []


def test_hints_that_the_broker_forgot_are_sent_again_after_the_first_grace_however_often_they_were_sent(
    site: Site, redis_url: str
) -> None:
    entry = site.receive()
    publisher = HintPublisher(redis_url)
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    dispatcher.turn()
    assert publisher.held() == Held(live=1, batch=0, taken=0)
    site.change("UPDATE task SET hint_count = 8")
    site.age_hints(OPTIONS.grace_ms + 1000)
    dispatcher.turn()
    assert waiting(redis_url, LIVE_QUEUE) == [[entry.task_id]]
    with Connection(redis_url) as connection:
        channel: Any = connection.default_channel
        channel.client.flushall()
    dispatcher.turn()
    publisher.close()
    assert waiting(redis_url, LIVE_QUEUE) == [[entry.task_id]]


def test_the_broker_holds_so_many_hints_however_much_waits_and_however_often_it_is_due(
    site: Site, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_dispatcher, "LIVE_HINTS_PER_WORKER", 5)
    oldest = [site.receive(f"1.{number}", f"1.{number}.1").task_id for number in range(8)][:5]
    publisher = HintPublisher(redis_url)
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    for _ in range(3):
        dispatcher.turn()
        site.age_hints(OPTIONS.grace_max_ms)
    assert waiting(redis_url, LIVE_QUEUE) == [[task_id] for task_id in oldest]
    with Connection(redis_url) as connection:
        channel: Any = connection.default_channel
        channel.client.delete(LIVE_QUEUE)
    dispatcher.turn()
    publisher.close()
    assert len(waiting(redis_url, LIVE_QUEUE)) == 5


def test_many_complete_studies_are_settled_a_few_at_a_time_between_hints(
    site: Site, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_dispatcher, "SETTLE_LIMIT", 2)
    for number in range(3):
        site.receive(f"1.{number}", f"1.{number}.1")
    publisher = HintPublisher(redis_url)
    dispatcher = Dispatcher(site.sessions, publisher, OPTIONS)
    assert dispatcher.turn(), "a further turn follows at once"
    assert len(waiting(redis_url, LIVE_QUEUE)) == 3
    assert not dispatcher.turn()
    publisher.close()
    assert {row["state"] for row in site.rows("SELECT state FROM study")} == {"QUEUED"}
