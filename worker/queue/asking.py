"""Whether the broker takes writes, asked in its own protocol (RESP): kombu takes as long to load as half of a command.

kombu asks where the connection needs TLS.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from worker.queue.hints import CHECK_KEY, CHECK_LASTS_S, BrokerAway, HintPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator

_OK = b"+OK\r\n"
_LONGEST_LINE = 512


def check_broker(url: str, within_s: float) -> None:
    """Raise BrokerAway unless the broker answers and takes what is written to it.

    ``url``: as `Settings.broker` has it; ``within_s``: for the connection and for each answer.
    """
    parts = urlsplit(url)
    if parts.scheme == "rediss":
        HintPublisher(url).check()
        return
    commands = list(_commands(parts))
    try:
        with _connected(parts, within_s) as link, link.makefile("rb") as answers:
            link.sendall(b"".join(map(_encoded, commands)))
            for _ in commands:
                if answers.readline(_LONGEST_LINE) != _OK:
                    raise BrokerAway
    except OSError as error:
        raise BrokerAway from error


def _commands(parts: SplitResult) -> Iterator[tuple[str, ...]]:
    if parts.password:
        yield "AUTH", *filter(None, (unquote(parts.username or ""), unquote(parts.password)))
    options = dict(parse_qsl(parts.query))
    number = options.get("virtual_host", "0") if _is_socket(parts) else parts.path.strip("/")
    if number.strip("0"):
        yield "SELECT", number
    # Not a PING: a broker that is full, a replica or cannot save answers that, and refuses the hints.
    yield "SET", CHECK_KEY, "", "EX", str(CHECK_LASTS_S)


def _connected(parts: SplitResult, within_s: float) -> socket.socket:
    if not _is_socket(parts):
        return socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), within_s)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(within_s)
        link.connect(unquote(parts.path))
    except OSError:
        link.close()
        raise
    return link


def _is_socket(parts: SplitResult) -> bool:
    return parts.scheme == "redis+socket"


def _encoded(words: tuple[str, ...]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
