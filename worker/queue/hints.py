"""The publisher of hints, and whether the broker takes them (step 4 of the flow)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from worker.queue.message import BODY, QUEUE, headers_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu import Connection

#: The key that is written to check that the broker takes writes, and after how many seconds it expires.
CHECK_KEY = "auscult.check"
CHECK_LASTS_S = 60

#: Without timeouts kombu waits for ever on a half-open connection. The visibility timeout is longer than the work of any
#: message, since a message is delivered again after it; leases, and not this timeout, recover from crashes.
REDIS_OPTIONS: dict[str, Any] = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "health_check_interval": 25,
    "visibility_timeout": 7200,
}


class BrokerAway(Exception):
    """The broker does not answer, or takes nothing (full, read-only, loading, password); nothing was published."""


class HintPublisher:
    """Publishes hints over one connection, opened when first needed and again after a failure."""

    def __init__(self, broker_url: str) -> None:
        self.url = broker_url
        self._connection: Connection | None = None

    def check(self) -> None:
        """Raise BrokerAway unless the broker answers and takes what is written to it."""
        self._guard(_write)

    def waiting(self) -> int:
        """How many hints wait in the broker; raises BrokerAway."""
        found: list[int] = []
        self._guard(lambda connection: found.append(_waiting(connection)))
        return found[0]

    def publish(self) -> None:
        """Send one hint; raises BrokerAway."""
        message_id = str(uuid.uuid4())
        headers = headers_of(message_id)

        def send(connection: Connection) -> None:
            producer = connection.Producer(serializer="json")
            producer.publish(
                BODY,
                routing_key=QUEUE,
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
        # Imported here: commands import this module, and few of them need kombu and redis.
        from kombu.exceptions import OperationalError
        from redis.exceptions import RedisError

        from worker.queue.broker import BrokerConnection

        connection = self._connection = self._connection or BrokerConnection(
            self.url, transport_options=REDIS_OPTIONS, connect_timeout=5
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


def _waiting(connection: Connection) -> int:
    # Not by declaring the queue, which asks for the lists of all priorities: hints have none.
    channel: Any = connection.default_channel
    return int(channel.client.llen(QUEUE))


def _write(connection: Connection) -> None:
    # Not a PING: a broker that is full, a replica or cannot save answers that, and refuses the hints.
    channel: Any = connection.default_channel
    channel.client.set(CHECK_KEY, b"", ex=CHECK_LASTS_S)
