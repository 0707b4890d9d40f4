"""A hint as a message: work waits in SQL.

A hint is a Celery task message, protocol 2 ("Message Protocol" in Celery's documentation), written with kombu alone:
the listener's process never imports Celery. It names no film: a worker that takes one does what is due in SQL until
nothing is, so losing or repeating a hint is harmless (promise 3 of ARCHITECTURE.md), and a burst needs few of them.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kombu import Message

TASK_NAME = "auscult.score"
QUEUE = "auscult.work"
#: The one word of a hint.
WORK = "work"
#: Queues of the release before, whose hints name films: a listener that is not upgraded yet goes on writing there.
EARLIER_QUEUES = ("auscult.live", "auscult.batch")
#: The most ids in a hint of the release before, and the longest body in bytes (ids of 20 digits, and the frame around them).
MAX_IDS = 64
MAX_BODY_BYTES = 4096
MAX_ID = 2**63 - 1


def is_hint(message: Message) -> bool:
    """Whether a message is a hint: the one word, or 1 to 64 ids as the release before wrote them.

    Anyone who reaches the broker can put anything into it, so nothing else of a message is read.
    """
    headers: Any = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK_NAME or "compression" in headers:
        return False
    body: Any = message.body
    if message.content_type != "application/json" or not isinstance(body, bytes) or len(body) > MAX_BODY_BYTES:
        return False
    try:
        args, kwargs, _ = json.loads(body)
        (said,) = args
    except (ValueError, TypeError, RecursionError):
        return False
    return kwargs == {} and (said == WORK or _are_ids(said))


def _are_ids(said: Any) -> bool:
    is_list = isinstance(said, list) and 1 <= len(said) <= MAX_IDS
    return is_list and all(type(each) is int and 1 <= each <= MAX_ID for each in said)


def rewrite(message: Any) -> None:
    """Turn a message into the hint that `publish` would have sent, so that its callbacks, limits and times have no effect."""
    message_id = str(uuid.uuid4())
    message.headers = headers_of(message_id)
    message.properties = {"correlation_id": message_id}
    message.body = json.dumps(BODY).encode()
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


#: The body of a hint.
BODY: tuple[list[Any], dict[str, Any], dict[str, Any]] = (
    [WORK],
    {},
    {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
)
