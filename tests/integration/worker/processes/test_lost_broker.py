"""A broker that is lost at an acknowledgement: kombu only logs it, and the worker would ask for no message any more."""

from __future__ import annotations

import logging

import pytest

from tests.support.redis_server import own_redis
from worker.processes.tasks import answer_or_reconnect
from worker.queue.broker import BrokerConnection
from worker.queue.hints import REDIS_OPTIONS, HintPublisher
from worker.queue.message import QUEUE

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("way", ["ack_log_error", "reject_log_error"])
def test_the_consumer_hears_of_it(way: str) -> None:
    with own_redis() as broker:
        publisher = HintPublisher(broker.url)
        publisher.publish()
        publisher.close()
        with BrokerConnection(broker.url, transport_options=REDIS_OPTIONS) as connection:
            message = connection.SimpleQueue(QUEUE).get(timeout=10)
            answer_or_reconnect(message)
            broker.kill()
            with pytest.raises(connection.connection_errors):
                getattr(message, way)(logging.getLogger(__name__), connection.connection_errors)
