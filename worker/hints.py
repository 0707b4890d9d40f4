"""Hints: the messages that tell a worker which task rows wait (step 4 of the flow).

A hint is a Celery task message, protocol 2 ("Message Protocol" in Celery's documentation), written with kombu alone:
the listener's process never imports Celery. It carries task ids and nothing else, so losing or repeating one is
harmless: SQL is the queue of record (promise 3 of ARCHITECTURE.md).
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kombu import Connection, Message

TASK_NAME = "auscult.score"
LIVE_QUEUE = "auscult.live"
BATCH_QUEUE = "auscult.batch"
#: What is written to see whether the broker takes anything, and for how many seconds it stays there.
CHECK_KEY = "auscult.check"
CHECK_LASTS_S = 60

#: No hint of ours holds more ids, and none is longer than these bytes (ids of 20 digits, and the frame around them).
MAX_IDS = 64
MAX_BODY_BYTES = 4096
MAX_ID = 2**63 - 1

#: kombu waits for ever on a half-open link unless told otherwise. Visibility must outlast any message's work, since
#: a message that is still being worked on would come a second time; crashes are repaired by leases, not by it.
REDIS_OPTIONS: dict[str, Any] = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "health_check_interval": 25,
    "visibility_timeout": 7200,
    "queue_order_strategy": "priority",
}


class BrokerAway(Exception):
    """The broker does not answer, or takes nothing (full, read-only, loading, password); nothing was published."""


class HintPublisher:
    """Publishes hints over one connection, opened when first needed and again after a failure."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._connection: Connection | None = None

    def check(self) -> None:
        """Raise BrokerAway unless the broker answers and takes what is written to it."""
        self._guard(_write)

    def is_empty(self) -> bool:
        """Whether the broker holds no hint at all, neither waiting nor taken by a worker; raises BrokerAway."""
        held: list[int] = []
        self._guard(lambda connection: held.append(_held(connection)))
        return sum(held) == 0

    def publish(self, task_ids: Sequence[int], queue: str) -> None:
        """Send one hint for these task ids; raises BrokerAway."""
        message_id = str(uuid.uuid4())
        headers = _headers(message_id)
        body = _body(task_ids)

        def send(connection: Connection) -> None:
            producer = connection.Producer(serializer="json")
            producer.publish(
                body,
                routing_key=queue,
                exchange="",
                headers=headers,
                correlation_id=message_id,
                delivery_mode=2,
                retry=False,
            )

        self._guard(send)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.release()
            self._connection = None

    def _guard(self, action: Callable[[Connection], object]) -> None:
        # Here, as every command imports this module, and few of them talk to the broker.
        from worker.broker import BrokerConnection

        connection = self._connection = self._connection or BrokerConnection(
            self._url, transport_options=REDIS_OPTIONS, connect_timeout=5
        )
        away: tuple[type[BaseException], ...] = (
            OperationalError,
            OSError,
            *connection.connection_errors,
            *connection.channel_errors,
            RedisError,
        )
        try:
            action(connection)
        except away as error:
            self.close()
            msg = "the broker does not answer, or takes nothing"
            raise BrokerAway(msg) from error


def task_ids_of(message: Message) -> tuple[int, ...] | None:
    """The ids of a hint; None for a message that is none of ours.

    Whoever reaches the broker may put anything into it. A hint is 1 to 64 task ids, and nothing else is read.
    """
    headers: Any = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK_NAME or "compression" in headers:
        return None
    body: Any = message.body
    if message.content_type != "application/json" or not isinstance(body, bytes) or len(body) > MAX_BODY_BYTES:
        return None
    try:
        args, kwargs, _ = json.loads(body)
        (ids,) = args
    except (ValueError, TypeError, RecursionError):
        return None
    if kwargs != {} or not isinstance(ids, list) or not 1 <= len(ids) <= MAX_IDS:
        return None
    return tuple(ids) if all(type(each) is int and 1 <= each <= MAX_ID for each in ids) else None


def rewrite(message: Any, task_ids: Sequence[int]) -> None:
    """Make a message the hint that `publish` would have sent: nothing else in it (callbacks, limits, times) counts."""
    message_id = str(uuid.uuid4())
    message.headers = _headers(message_id)
    message.properties = {"correlation_id": message_id}
    message.body = json.dumps(_body(task_ids)).encode()
    message.content_encoding = "utf-8"


def _headers(message_id: str) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": TASK_NAME,
        "id": message_id,
        "root_id": message_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": "",
        "kwargsrepr": "{}",
        "origin": "auscult",
        "ignore_result": True,
    }


def _body(task_ids: Sequence[int]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    return [list(task_ids)], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def _held(connection: Connection) -> int:
    channel: Any = connection.default_channel
    waiting = sum(channel.queue_declare(queue, durable=True).message_count for queue in (LIVE_QUEUE, BATCH_QUEUE))
    return int(waiting) + int(channel.client.hlen(channel.unacked_key))


def _write(connection: Connection) -> None:
    # Not a PING: a broker that is full, a replica or cannot save answers that, and refuses the hints.
    channel: Any = connection.default_channel
    channel.client.set(CHECK_KEY, b"", ex=CHECK_LASTS_S)
