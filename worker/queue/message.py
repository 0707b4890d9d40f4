"""A hint as a message: which task rows wait for a worker.

A hint is a Celery task message, protocol 2 ("Message Protocol" in Celery's documentation), written with kombu alone:
the listener's process never imports Celery. It carries task ids and nothing else, so losing or repeating one is
harmless: SQL is the queue of record (promise 3 of ARCHITECTURE.md).
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kombu import Message

TASK_NAME = "auscult.score"
LIVE_QUEUE = "auscult.live"
BATCH_QUEUE = "auscult.batch"
#: The most ids in a hint, and its longest body in bytes (ids of 20 digits, and the frame around them).
MAX_IDS = 64
MAX_BODY_BYTES = 4096
MAX_ID = 2**63 - 1


def task_ids_of(message: Message) -> tuple[int, ...] | None:
    """The ids of a hint, 1 to 64 positive numbers; None for any other message.

    Anyone who reaches the broker can put anything into it, so nothing else of a message is read.
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
    """Turn a message into the hint that `publish` would have sent, so that its callbacks, limits and times have no effect."""
    message_id = str(uuid.uuid4())
    message.headers = headers_of(message_id)
    message.properties = {"correlation_id": message_id}
    message.body = json.dumps(body_of(task_ids)).encode()
    message.content_encoding = "utf-8"


def headers_of(message_id: str) -> dict[str, Any]:
    """The headers of a hint."""
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


def body_of(task_ids: Sequence[int]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """The body of a hint for these task ids."""
    return [list(task_ids)], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
