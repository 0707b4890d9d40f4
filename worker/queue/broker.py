"""The connection to the broker: kombu's, without secrets in its name and unharmed by foreign messages in a queue."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from kombu import Connection
from kombu.transport import redis, virtual

from worker.addresses import broker_place
from worker.queue.message import QUEUE

logger = logging.getLogger(__name__)


class _Message(virtual.Message):
    """A message of any form: kombu's class raises for one without the parts that kombu itself writes."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **kwargs)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            super().__init__({"properties": {"delivery_tag": ""}}, channel=channel)
        # A message that is not acknowledged is kept under the tag, and put back into that queue.
        self.delivery_tag = str(uuid.uuid4())
        self.delivery_info = {"exchange": "", "routing_key": QUEUE}


class _Channel(redis.Channel):
    Message = _Message

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except (ValueError, RecursionError):
            # The message is out of the queue; the error would end the worker.
            logger.warning("a message that is not JSON was dropped", extra={"action": "foreign_message"})
            return True


class _Transport(redis.Transport):
    Channel = _Channel


class BrokerConnection(Connection):
    """A connection by our transport that names its broker without user, password and options, as Celery logs it."""

    def get_transport_cls(self) -> Any:
        """Our transport: the settings accept Redis-compatible brokers only."""
        return _Transport

    def as_uri(self, include_password: bool = False, *args: Any, **kwargs: Any) -> str:  # noqa: FBT001, FBT002 - kombu's
        """The broker's URL; kombu leaves out the password alone."""
        uri: str = super().as_uri(include_password, *args, **kwargs)
        return uri if include_password else broker_place(uri)
