"""Whoever reaches the broker, and whatever stands in the environment: the work is done all the same."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import Celery
from kombu import Connection

from tests.support.redis_server import own_redis
from tests.support.running import Site
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until
from worker.queue.message import QUEUE, TASK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

SECRET = "p#ss/w@rd%41"
#: What other programs leave behind: another broker, another database server, a Service named auscult.
FOREIGN = {
    "CELERY_BROKER_URL": "redis://127.0.0.1:9/3",
    "CELERY_BROKER_READ_URL": "redis://127.0.0.1:9/3",
    "CELERY_LOADER": "nobody.has:This",
    "DJANGO_SETTINGS_MODULE": "nobody.settings",
    "PSYCOPG_IMPL": "nonesuch",
    "PGHOSTADDR": "127.0.0.9",
    "AUSCULT_PORT": "tcp://10.96.3.4:11112",
    "AUSCULT_SERVICE_HOST": "10.96.3.4",
    "AUSCULT_PORT_11112_TCP": "tcp://10.96.3.4:11112",
}


def message(body: Any, **changes: Any) -> str:
    """A message as kombu's Redis transport writes it."""
    text = body if isinstance(body, str) else json.dumps(body)
    raw = {
        "body": base64.b64encode(text.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": TASK_NAME, "id": "x", "argsrepr": "DOE^JOHN"},
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_tag": "t",
            "body_encoding": "base64",
            "priority": 0,
        },
    }
    return json.dumps(raw | changes)


def workers_of(site: Site) -> list[tuple[str, object]]:
    return [(row["name"], row["heartbeat_at"]) for row in site.query("SELECT name, heartbeat_at FROM worker")]


def bother(broker: RedisServer) -> None:
    """Everything a stranger with access to the broker can say."""
    url = broker.url.replace("redis://", "redis://:p%23ss%2Fw%40rd%2541@")
    app = Celery(broker=url, set_as_current=False)
    for task in ("cancel_consumer", "shutdown", "pool_shrink", "rate_limit"):
        arguments: dict[str, Any] = {
            "cancel_consumer": {"queue": QUEUE},
            "rate_limit": {"task_name": TASK_NAME, "rate_limit": 0},
        }
        app.control.broadcast(task, arguments=arguments.get(task, {}))
    for args in ([list(range(10**5))], [[2**40]], [[-1]], ["DOE"], [[1.5]], []):
        app.send_task(TASK_NAME, args=args, queue=QUEUE, ignore_result=True, countdown=86400, time_limit=1)
    link = app.signature("celery.group", args=([],), queue=QUEUE)
    app.send_task("celery.chunks", args=["DOE^JOHN"], queue=QUEUE, link=link, ignore_result=True)
    app.send_task("nobody.knows", args=["DOE^JOHN"], queue=QUEUE, ignore_result=True)
    with Connection(url) as connection:
        connection.SimpleQueue(QUEUE).put({"task": TASK_NAME, "id": "y", "args": [[1]], "kwargs": {}})
    with redis.Redis.from_url(url) as client:
        client.lpush(
            QUEUE,
            "DOE^JOHN",
            "[]",
            "{}",
            message([], headers=None),
            message("[" * 3000),
            message([[[1]], {}, {}], headers=["DOE"]),
            message([[[1]], {}, {}], properties={}),
            message([[[1]], {}, {}], properties={"delivery_tag": "u", "body_encoding": "nonesuch"}),
            message([[[1]], {}, {}], **{"content-type": "application/x-python-serialize"}),
        )
    app.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisServer]:
    with own_redis(tcp=True) as server:
        with redis.Redis.from_url(server.client_url) as client:
            client.config_set("requirepass", SECRET)
        yield server


def test_a_stranger_at_the_broker_and_foreign_variables_stop_nothing_and_show_nothing(broker: RedisServer) -> None:
    folder = Path(tempfile.mkdtemp(prefix="auscult-st ranger%41?#é-", dir="/tmp"))
    url = f"redis://:p%23ss%2Fw%40rd%2541@127.0.0.1:{broker.port}/0"
    (folder / "home").mkdir()
    (folder / "home" / "auscult.toml").write_bytes(b"\xef\xbb\xbfport = 0\r\n")
    site = Site(folder / "home", {"AUSCULT_BROKER_URL": f'"{url}"\r', **FOREIGN})
    # The children of the supervisor know nothing of it, or the warning would come three times.
    with site.running("up") as up:
        push([chest_film(0.1)], up.port)
        site.wait_terminal(1)
        bother(broker)
        push([chest_film(0.2)], up.port)
        rows = site.wait_terminal(2)
        beats = workers_of(site)
        wait_until(lambda: workers_of(site) != beats, 30, "a heartbeat after it all")
        log = up.text()
    assert {row["ai_status"] for row in rows.values()} == {"FINAL"}
    assert workers_of(site) == []
    assert (folder / "home" / "auscult.db").is_file()
    assert log.count("environment variables of other programs are ignored") == 1
    assert "a message that is not a hint was dropped" in log
    assert "a message that is not JSON was dropped" in log
    assert not [word for word in ("DOE", "p#ss", "p%23ss", "rd%41", "starting it again") if word in log]
    shutil.rmtree(folder)
