"""What a worker takes for a hint: one word, or a few task ids, and nothing else that somebody put into the broker."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import Message
from redis import Redis

from tests.support.redis_server import own_redis
from worker.processes.app import make_app
from worker.processes.broker import start_broker
from worker.processes.supervisor import Supervisor
from worker.queue.broker import BrokerConnection
from worker.queue.hints import HintPublisher
from worker.queue.message import QUEUE, TASK_NAME, is_hint, rewrite
from worker.settings import load_settings

EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def message(body: object, *, headers: dict[str, Any] | None = None, kind: str = "application/json") -> Any:
    data: Any = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(data, headers={"task": TASK_NAME, **(headers or {})}, content_type=kind, content_encoding="utf-8")


#: Documents of JSON, and among them such as come close to a hint.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=70) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=80,
)
NEARLY = st.tuples(st.tuples(st.lists(st.integers() | VALUES, max_size=70)), st.just({}) | VALUES, VALUES)


@given(VALUES | NEARLY | st.binary(max_size=5000))
def test_whatever_a_message_holds_it_is_a_hint_or_nothing(body):
    assert not is_hint(message(body)) or is_one(body[0][0])


def is_one(said: Any) -> bool:
    return said == "work" or (1 <= len(said) <= 64 and all(type(each) is int and 1 <= each < 2**63 for each in said))


@pytest.mark.integration
def test_what_the_publisher_sends_is_a_hint(redis_url):
    publisher = HintPublisher(redis_url)
    publisher.publish()
    assert publisher.waiting() == 1
    publisher.close()
    with BrokerConnection(redis_url) as connection:
        channel: Any = connection.default_channel
        taken = channel.basic_get(QUEUE, no_ack=True)
    assert is_hint(taken)
    assert json.loads(taken.body) == [["work"], {}, EMBED]


@pytest.mark.parametrize("ids", [[1], [1, 2**63 - 1], list(range(2**63 - 64, 2**63))], ids=len)
def test_a_hint_of_the_release_before_is_one_too(ids):
    assert is_hint(message([[ids], {}, EMBED]))


@pytest.mark.parametrize(
    "ids",
    [
        [],
        [0],
        [-1],
        [2**63],
        [True],
        [1.0],
        ["1"],
        [None],
        [[1]],
        "1",
        "works",
        "",
        1,
        None,
        list(range(1, 66)),
        {"1": 1},
    ],
    ids=lambda ids: repr(ids)[:12],
)
def test_anything_but_the_word_or_a_few_positive_ids_is_no_hint(ids):
    assert not is_hint(message([[ids], {}, EMBED]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 4000,
        b" " * 5000 + b"[[[1]], {}, {}]",
        [],
        {},
        None,
        1,
        "DOE^JOHN",
        [[[1]], {}],
        [[[1], [2]], {}, EMBED],
        [[[1]], {"task_ids": [2]}, EMBED],
        [[], {"task_ids": [1]}, EMBED],
    ],
    ids=lambda body: repr(body)[:36],
)
def test_anything_of_another_form_is_no_hint(body):
    assert not is_hint(message(body))


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"task": "celery.chunks"}, "application/json"),
        ({"task": ["auscult.score"]}, "application/json"),
        ({}, "application/x-python-serialize"),
        ({"compression": "application/x-gzip"}, "application/json"),
    ],
    ids=["another task", "a list for a name", "pickle", "compressed"],
)
def test_another_task_or_encoding_is_no_hint(headers, kind):
    assert not is_hint(message([[[1]], {}, EMBED], headers=headers, kind=kind))


def test_of_a_hint_nothing_counts_but_that_it_is_one():
    link = {"task": "celery.group", "args": [], "options": {"queue": QUEUE}}
    hint = message(
        [[[7]], {}, {key: [link] for key in EMBED}], headers={"eta": "2099-01-01T00:00:00", "id": "DOE^JOHN"}
    )
    hint.headers |= {"timelimit": [0.001, 0.001], "expires": "2001-01-01T00:00:00", "shadow": "DOE^JOHN"}
    hint.properties = {"reply_to": "somebody", "priority": 9}
    assert is_hint(hint)
    rewrite(hint)
    assert json.loads(hint.body or b"") == [["work"], {}, EMBED]
    assert [hint.headers[name] for name in ("eta", "expires", "timelimit")] == [None, None, [None, None]]
    assert "shadow" not in hint.headers
    assert set(hint.properties) == {"correlation_id"}
    assert "DOE" not in json.dumps([hint.headers, hint.properties])


def test_nobody_steers_or_watches_a_worker_through_the_broker(tmp_path):
    app = make_app(load_settings(home=tmp_path))
    assert not app.conf.worker_enable_remote_control
    assert not app.conf.worker_send_task_events
    assert app.conf.accept_content == ["json"]
    assert app.conf.worker_consumer == "worker.processes.tasks:HintConsumer"


@pytest.mark.parametrize("url", ["redis://user:p%23w@h:1/2", "rediss://user:p@h/0", "unix://user:pw@/run/r.sock?db=2"])
def test_a_connection_names_its_broker_without_user_and_password(url, tmp_path):
    app = make_app(load_settings(home=tmp_path, broker_url=url))
    for connection in (app.connection(), app.connection_for_read(), app.connection().clone()):
        assert "user" not in connection.as_uri() + repr(connection)
        assert "p%23w" not in connection.as_uri()


@pytest.mark.integration
@pytest.mark.parametrize("password", ["p#w", "p/w?x", "p@w:%41", "pässwort 1;"])
def test_a_password_with_any_character_opens_the_broker(password, tmp_path):
    with own_redis(tcp=True) as server:
        with Redis.from_url(server.client_url) as client:
            client.config_set("requirepass", password)
        encoded = quote(password, safe="")
        for url in (f"redis://:{encoded}@127.0.0.1:{server.port}/1", f"unix://:{encoded}@{server.root}/r.sock?db=1"):
            publisher = HintPublisher(load_settings(home=tmp_path, broker_url=url).broker)
            publisher.check()
            publisher.close()


@pytest.mark.integration
def test_the_embedded_broker_answers_in_an_odd_data_folder(tmp_path):
    home = tmp_path / "p%41 q?x#é;"
    supervisor = Supervisor()
    try:
        start_broker(load_settings(home=home), supervisor)
        assert (home / "run" / "broker.sock").is_socket()
    finally:
        supervisor.stop()
