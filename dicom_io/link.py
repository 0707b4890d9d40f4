"""The connection to a peer, below the association: name, TCP and TLS, each with a sentence for the way it fails.

pynetdicom connects by itself, but tells nothing but that "the association failed"; so this is done here and the
connected socket is handed to it.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from dicom_io.connection import Connection
from dicom_io.errors import PeerUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicom_io.peer import Peer

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10


class LinkProblem(Enum):
    """Why there is no association though nobody rejected it; the value is the sentence."""

    HOST_UNKNOWN = "The peer's host name is not known: check its spelling and the name server."
    PORT_CLOSED = "The peer's host answers, but nothing listens on that port: check the port, and that the peer runs."
    TIMED_OUT = "The peer does not answer in time: check address and port, and firewalls between."
    NO_ROUTE = "The peer's host cannot be reached: check its address and the network."
    TLS_NOT_SPOKEN = "The peer does not answer in TLS: use AET@HOST:PORT without dicom-tls://, or its TLS port."
    TLS_UNTRUSTED = "The peer's TLS certificate is not signed by an authority we trust: check AUSCULT_TLS_CA."
    TLS_NOT_SET_UP = "The peer's address asks for TLS: set AUSCULT_TLS_CERT, AUSCULT_TLS_KEY and AUSCULT_TLS_CA."
    TLS_EXPIRED = "The peer's TLS certificate is not valid at this time: renew it, and check both clocks."
    TLS_FAILED = "The TLS handshake failed: check TLS versions, ciphers and certificates of both sides."
    TLS_CLOSED = (
        "The peer closed the connection after the TLS handshake: it may want a certificate of ours that it trusts "
        "(AUSCULT_TLS_CERT, AUSCULT_TLS_KEY)."
    )
    CLOSED = "The peer closed the connection or aborted: check that DICOM is spoken there, and whether it wants TLS."


class CannotConnect(PeerUnreachable):
    """There is no association.

    Parameters
    ----------
    problem : LinkProblem
        Why; its value is the message.
    """

    def __init__(self, problem: LinkProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


class Stage(StrEnum):
    """What happens on the way to an answer, in order."""

    RESOLVED = "name resolved"
    CONNECTED = "connected"
    TLS = "TLS agreed"
    ASSOCIATED = "association accepted"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Step:
    """One stage that is behind us."""

    stage: Stage
    #: The address, the TLS version and cipher, or the peer's implementation.
    detail: str
    milliseconds: float


class Steps:
    """Measures the stages and tells of them.

    Parameters
    ----------
    on_step : callable, optional
        Told of each.
    """

    def __init__(self, on_step: Callable[[Step], None] | None = None) -> None:
        self._on_step = on_step
        self._since = time.monotonic()

    @property
    def waited_s(self) -> float:
        """How long ago the last stage was done."""
        return time.monotonic() - self._since

    def done(self, stage: Stage, detail: str) -> None:
        """Tell of a stage that is behind us."""
        if self._on_step:
            self._on_step(Step(stage, detail, round(1000 * self.waited_s, 1)))
        self._since = time.monotonic()


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection."""

    socket: socket.socket
    #: Of the peer, numerical.
    address: str


def open_link(peer: Peer, tls: ssl.SSLContext | None, timeout_s: float, steps: Steps) -> Link:
    """Connect to a peer, with TLS where its address says so.

    Parameters
    ----------
    peer : Peer
        Whom to call.
    tls : ssl.SSLContext or None
        From `dicom_io.tls.client_context`; needed for a peer with TLS.
    timeout_s : float
        For the connection, the handshake and each read or write afterwards.
    steps : Steps
        Told of each stage.

    Returns
    -------
    Link
        Open; the caller closes it.

    Raises
    ------
    CannotConnect
        With the problem.
    """
    if peer.is_tls and tls is None:
        raise CannotConnect(LinkProblem.TLS_NOT_SET_UP)
    addresses = _addresses(peer)
    steps.done(Stage.RESOLVED, ", ".join(dict.fromkeys(str(address[0]) for _, address in addresses)))
    connection, address = _connected(addresses, timeout_s)
    steps.done(Stage.CONNECTED, f"{address} port {peer.port}")
    if not peer.is_tls or tls is None:
        return Link(connection, address)
    secured = _secured(connection, tls, peer.host)
    cipher = secured.cipher()
    steps.done(Stage.TLS, f"{secured.version()} {cipher[0] if cipher else ''}".strip())
    return Link(secured, address)


def _addresses(peer: Peer) -> list[tuple[int, tuple[str, int]]]:
    """The family and address of each way to the host."""
    try:
        found = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as exc:
        raise CannotConnect(LinkProblem.HOST_UNKNOWN) from exc
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _connected(addresses: list[tuple[int, tuple[str, int]]], timeout_s: float) -> tuple[Connection, str]:
    problem = LinkProblem.NO_ROUTE
    for family, address in addresses:
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(timeout_s)
            plain.connect(address)
        except OSError as exc:
            plain.close()
            problem = _problem_of(exc)
        else:
            connection = Connection(plain)
            # Also inside a PDU, where pynetdicom's own timers do not run.
            connection.settimeout(timeout_s)
            return connection, str(address[0])
    raise CannotConnect(problem)


def _problem_of(exc: OSError) -> LinkProblem:
    if isinstance(exc, ConnectionRefusedError):
        return LinkProblem.PORT_CLOSED
    return LinkProblem.TIMED_OUT if isinstance(exc, TimeoutError) else LinkProblem.NO_ROUTE


def _secured(connection: Connection, tls: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return tls.wrap_socket(connection, server_hostname=host)
    except OSError as exc:
        with suppress(OSError):
            connection.close()
        raise CannotConnect(_tls_problem_of(exc)) from exc


def _tls_problem_of(exc: OSError) -> LinkProblem:
    if isinstance(exc, ssl.SSLCertVerificationError):
        expired = exc.verify_code in (_EXPIRED, _NOT_YET_VALID)
        return LinkProblem.TLS_EXPIRED if expired else LinkProblem.TLS_UNTRUSTED
    if isinstance(exc, TimeoutError):
        return LinkProblem.TIMED_OUT
    # What does not speak TLS answers in words of its own, or closes the connection at our first.
    silent = isinstance(exc, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError)
    if silent or getattr(exc, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return LinkProblem.TLS_NOT_SPOKEN
    return LinkProblem.TLS_FAILED
