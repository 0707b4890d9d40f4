"""The connection to a peer, below the association: name, TCP and TLS, with a sentence for each way to fail.

pynetdicom can connect too, but only reports that the association failed; so the connection is made here, and pynetdicom
is given the connected socket.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from dicom_io.errors import PeerUnreachable
from dicom_io.network.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicom_io.client.peer import Peer

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10


class LinkProblem(Enum):
    """Why there is no association although it was not rejected; the value is the sentence."""

    HOST_UNKNOWN = "The peer's host name is not known: check its spelling and the name server."
    PORT_CLOSED = (
        "The peer's host answers, but nothing listens on that port: check the port, and that the peer is running."
    )
    TIMED_OUT = "The peer does not answer in time: check address and port, and firewalls between."
    NO_ROUTE = "The peer's host cannot be reached: check its address and the network."
    TLS_NOT_SPOKEN = "The peer does not answer in TLS: use AET@HOST:PORT without dicom-tls://, or its TLS port."
    TLS_UNTRUSTED = "The peer's TLS certificate is not signed by an authority we trust: check AUSCULT_TLS_CA."
    TLS_NOT_SET_UP = "The peer's address asks for TLS: set AUSCULT_TLS_CERT, AUSCULT_TLS_KEY and AUSCULT_TLS_CA."
    TLS_EXPIRED = "The peer's TLS certificate is not valid at this time: renew it, and check both clocks."
    TLS_FAILED = "The TLS handshake failed: check TLS versions, ciphers and certificates of both sides."
    TLS_CLOSED = (
        "The peer closed the connection after the TLS handshake: it may require a certificate of ours that it trusts "
        "(AUSCULT_TLS_CERT, AUSCULT_TLS_KEY)."
    )
    CLOSED = "The peer closed the connection or aborted: check that it is a DICOM port, and whether it requires TLS."


class CannotConnect(PeerUnreachable):
    """There is no association.

    Parameters
    ----------
    problem : LinkProblem
        The cause; its value is the message.
    """

    def __init__(self, problem: LinkProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


class ConnectionStage(StrEnum):
    """The stages from the host name to an answer, in order."""

    RESOLVED = "name resolved"
    CONNECTED = "connected"
    TLS = "TLS agreed"
    ASSOCIATED = "association accepted"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class ConnectionStep:
    """One stage that is done."""

    stage: ConnectionStage
    #: The address, the TLS version and cipher, or the peer's implementation.
    detail: str
    milliseconds: float


class StepTimer:
    """Measures the stages.

    Parameters
    ----------
    on_step : callable, optional
        Called after each stage.
    """

    def __init__(self, on_step: Callable[[ConnectionStep], None] | None = None) -> None:
        self._on_step = on_step
        self._since = time.monotonic()

    @property
    def waited_s(self) -> float:
        """How long ago the last stage was done, in seconds."""
        return time.monotonic() - self._since

    def done(self, stage: ConnectionStage, detail: str) -> None:
        """Report a stage that is done."""
        if self._on_step:
            self._on_step(ConnectionStep(stage, detail, round(1000 * self.waited_s, 1)))
        self._since = time.monotonic()


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection."""

    socket: socket.socket
    #: Numerical address of the peer.
    address: str


def open_link(peer: Peer, tls: ssl.SSLContext | None, timeout_s: float, steps: StepTimer) -> Link:
    """Connect to a peer, with TLS where its address says so.

    Parameters
    ----------
    peer : Peer
        The application entity to call.
    tls : ssl.SSLContext or None
        From `dicom_io.network.tls.client_context`; required for a peer with TLS.
    timeout_s : float
        Timeout of the connection, the handshake and each later read or write, in seconds.
    steps : StepTimer
        Is told each stage.

    Returns
    -------
    Link
        The open connection; the caller closes it.

    Raises
    ------
    CannotConnect
        If there is no connection, with the cause.
    """
    if peer.is_tls and tls is None:
        raise CannotConnect(LinkProblem.TLS_NOT_SET_UP)
    addresses = _addresses(peer)
    steps.done(ConnectionStage.RESOLVED, ", ".join(dict.fromkeys(str(address[0]) for _, address in addresses)))
    connection, address = _connected(addresses, timeout_s)
    steps.done(ConnectionStage.CONNECTED, f"{address} port {peer.port}")
    if not peer.is_tls or tls is None:
        return Link(connection, address)
    secured = _secured(connection, tls, peer.host)
    cipher = secured.cipher()
    steps.done(ConnectionStage.TLS, f"{secured.version()} {cipher[0] if cipher else ''}".strip())
    return Link(secured, address)


def _addresses(peer: Peer) -> list[tuple[int, tuple[str, int]]]:
    """Return the family and address of each route to the host."""
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
            # Holds inside a PDU too, where pynetdicom's own timers do not run.
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
    # A port without TLS answers in its own protocol, or closes the connection at our first bytes.
    silent = isinstance(exc, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError)
    if silent or getattr(exc, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return LinkProblem.TLS_NOT_SPOKEN
    return LinkProblem.TLS_FAILED
