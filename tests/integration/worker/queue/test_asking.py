"""The broker asked in its own protocol: whether it takes writes, wherever it listens and whatever it wants to know first."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from tests.support.redis_server import own_redis
from worker.addresses import broker_url
from worker.queue.asking import check_broker
from worker.queue.hints import CHECK_KEY, BrokerAway, HintPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.integration

PATIENT_S = 60.0


@pytest.fixture(params=[False, True], ids=["socket", "tcp"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with own_redis(tcp=request.param) as found:
        yield found


def asked(url: str) -> None:
    """Both ways must find the same."""
    publisher = HintPublisher(url)
    try:
        publisher.check()
    except BrokerAway:
        with pytest.raises(BrokerAway):
            check_broker(url, PATIENT_S)
        raise
    finally:
        publisher.close()
    check_broker(url, PATIENT_S)


def test_a_broker_that_takes_writes_is_there(server: RedisServer) -> None:
    asked(server.url)
    with Redis.from_url(server.client_url) as client:
        assert 0 < client.ttl(CHECK_KEY) <= 60


def test_a_broker_that_is_a_replica_takes_nothing(server: RedisServer) -> None:
    with Redis.from_url(server.client_url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BrokerAway):
            asked(server.url)


@pytest.mark.parametrize("user", ["", "somebody"])
def test_user_password_and_number_of_the_database_are_told(server: RedisServer, user: str) -> None:
    secret = "p@ss/word:? 1"
    with Redis.from_url(server.client_url) as client:
        if user:
            client.execute_command("ACL", "SETUSER", user, "on", f">{secret}", "~*", "&*", "+@all")
            client.execute_command("ACL", "SETUSER", "default", "off")
        else:
            client.config_set("requirepass", secret)
    login = f"{user}:p%40ss%2Fword%3A%3F%201@"
    place = f"redis://{login}127.0.0.1:{server.port}/3" if server.port else f"unix://{login}{server.root}/r.sock?db=3"
    asked(broker_url(place))
    for wrong in (place.replace("word", "wrong"), place.replace(login, "")):
        with pytest.raises(BrokerAway):
            # kombu asks again for six seconds.
            check_broker(broker_url(wrong), PATIENT_S)


def test_a_broker_that_is_gone_is_away(server: RedisServer) -> None:
    server.kill()
    with pytest.raises(BrokerAway):
        check_broker(server.url, PATIENT_S)


@pytest.mark.parametrize(
    "answer", [b"", b"-LOADING\r\n", b"+PONG\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+" * 4096]
)
def test_another_answer_is_none(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(4096)
                link.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(BrokerAway):
            check_broker(f"redis://127.0.0.1:{listener.getsockname()[1]}/0", PATIENT_S)
        thread.join(PATIENT_S)


def test_a_silent_broker_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(BrokerAway):
        check_broker(f"redis://127.0.0.1:{listener.getsockname()[1]}/0", 0.1)
