"""One message to a webhook: signed as the Standard Webhooks specification 1.0 says, sent once, with a deadline.

The receiver proves with the shared secret that a message is ours, whole and new. It answers 2xx when it has taken the
message. A redirect is not followed: it would send what we say to a host that nobody configured.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import math
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dicom_io.network.addresses import is_loopback
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

#: Of a whole exchange, from the connection to the status line.
DEADLINE_S = 20.0
#: Of the specification: "between 24 bytes (192 bits) and 64 bytes (512 bits)".
SECRET_BYTES = range(24, 65)
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix that the specification gives secrets, no secret
#: A receiver that asks for a longer pause gets this one.
LONGEST_PAUSE_S = 86_400.0
GONE = 410


class WebhookAway(WorkerError):
    """The receiver could not be reached, or gave no answer in time."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where messages go."""

    host: str
    port: int
    #: Path and query.
    target: str
    is_tls: bool

    def __str__(self) -> str:
        """The endpoint for messages: without its path, since receivers hide tokens there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered."""

    #: The HTTP status, 100 to 999.
    status: int
    #: Seconds after which it wants to be asked again, at most `LONGEST_PAUSE_S`; None: it says nothing.
    retry_after_s: float | None = None

    @property
    def is_taken(self) -> bool:
        """Whether it has taken the message."""
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """Whether it asks for no message any more (410 Gone)."""
        return self.status == GONE


def endpoint(text: str) -> Endpoint:
    """Read https://HOST[:PORT]/PATH, or http:// on this machine alone; raises ValueError that quotes no path."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme not in ("https", "http") or not host or not is_plain or port == 0:
        msg = "a webhook is written https://HOST:PORT/PATH"
        raise ValueError(msg)
    if parts.username is not None or parts.fragment:
        msg = "a webhook's URL has no user, password or fragment: the messages are signed"
        raise ValueError(msg)
    if parts.scheme == "http" and not is_loopback(host):
        msg = "a webhook on another machine is written https://: what it is told is about patients"
        raise ValueError(msg)
    is_tls = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(host, port or (443 if is_tls else 80), target, is_tls)


def secrets_of(text: str) -> tuple[bytes, ...]:
    """Read secrets, one a line, the newest first: each is 24 to 64 bytes in base64, with or without "whsec_" before it.

    While a secret is changed both are listed, and each message carries a signature by each. Raises ValueError, which
    quotes none of them.
    """
    secrets = tuple(_secret(line.strip()) for line in text.splitlines() if line.strip())
    if not secrets:
        msg = "there is no secret"
        raise ValueError(msg)
    return secrets


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) not in SECRET_BYTES:
        msg = "a secret is 24 to 64 random bytes in base64, such as `openssl rand -base64 32` prints"
        raise ValueError(msg)
    return secret


def signed_headers(
    message_id: str, body: bytes, secrets: Sequence[bytes], at: datetime | None = None
) -> dict[str, str]:
    """The three headers of Standard Webhooks: the message's number, the time of the attempt, an HMAC-SHA256 by each secret."""
    moment = str(int((at or datetime.now(UTC)).timestamp()))
    content = f"{message_id}.{moment}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def trust(authorities: Path | None) -> ssl.SSLContext:
    """The context for TLS: this machine's authorities, and those of a file (PEM); the host's name is checked."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities is not None:
        context.load_verify_locations(authorities)
    return context


def post(
    to: Endpoint,
    body: bytes,
    headers: Mapping[str, str],
    context: ssl.SSLContext,
    deadline_s: float = DEADLINE_S,
    *,
    before: Callable[[], None] = lambda: None,
) -> Reply:
    """Send one message.

    Parameters
    ----------
    to : Endpoint
        The receiver.
    body : bytes
        JSON in UTF-8.
    headers : mapping of str to str
        Of `signed_headers`.
    context : ssl.SSLContext
        Of `trust`; unused where the endpoint has no TLS.
    deadline_s : float
        Seconds for everything after the host's name is looked up. A receiver that sends its answer a byte at a time
        does not stretch it.
    before : callable, optional
        Called once the receiver is reached and its certificate accepted, before the message leaves; where it raises,
        nothing is sent.

    Returns
    -------
    Reply
        What the receiver answered, whatever that was.

    Raises
    ------
    WebhookAway
        If there was no answer; its text names the endpoint without its path.
    """
    sent = {"content-type": "application/json", "user-agent": "auscult", **headers}
    try:
        with socket.create_connection((to.host, to.port), deadline_s) as plain, _hung_up_after(plain, deadline_s):
            connection = _over(plain, to, context)
            with contextlib.closing(connection):
                before()
                connection.request("POST", to.target, body, sent)
                response = connection.getresponse()
                return Reply(response.status, _pause(response.getheader("retry-after")))
    except ssl.SSLCertVerificationError as error:
        raise WebhookAway(f"{to}: its certificate is not accepted ({error.verify_message})") from error
    except ssl.SSLError as error:
        raise WebhookAway(f"{to}: TLS failed ({error.reason or 'closed by the receiver'})") from error
    except HTTPException as error:
        raise WebhookAway(f"{to}: its answer is not HTTP, or none came in time ({type(error).__name__})") from error
    except OSError as error:
        raise WebhookAway(f"{to}: {error.strerror or 'no answer in time'}") from error


def _over(plain: socket.socket, to: Endpoint, context: ssl.SSLContext) -> HTTPConnection:
    """HTTP over a connection that is open."""
    if to.is_tls:
        connection: HTTPConnection = HTTPSConnection(to.host, to.port, context=context)
        connection.sock = context.wrap_socket(plain, server_hostname=to.host)
    else:
        connection = HTTPConnection(to.host, to.port)
        connection.sock = plain
    return connection


@contextlib.contextmanager
def _hung_up_after(plain: socket.socket, seconds: float) -> Iterator[None]:
    """End a connection from another thread once the time is over, whatever it waits for; TLS may have wrapped it."""
    with plain.dup() as same:
        alarm = threading.Timer(seconds, _hang_up, [same])
        alarm.daemon = True
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()
            alarm.join()


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pause(text: str | None) -> float | None:
    """Retry-After (RFC 9110 section 10.2.3): seconds, or a date."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (aware - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_PAUSE_S) if math.isfinite(seconds) else LONGEST_PAUSE_S
