"""TCP connections as the listener and the client need them."""

from __future__ import annotations

import hashlib
import socket
import ssl
from contextlib import suppress


class _AlwaysClosed(socket.socket):
    """A socket that pynetdicom always closes."""

    def shutdown(self, how: int) -> None:
        """End the connection, if the peer has not done so."""
        # pynetdicom calls shutdown() and close() in one `try`: an error of the first would leave the socket open.
        # Not super(): with TLS, a thread that still reads would then take encrypted bytes for plain ones.
        with suppress(OSError):
            socket.socket.shutdown(self, how)


class Connection(_AlwaysClosed):
    """A connected TCP socket that sends without delay and that pynetdicom always closes.

    Parameters
    ----------
    plain : socket.socket
        The connected socket to take over; it is detached and cannot be used any more.
    """

    def __init__(self, plain: socket.socket) -> None:
        super().__init__(fileno=plain.detach())
        send_at_once(self)


class TlsConnection(_AlwaysClosed, ssl.SSLSocket):
    """A `Connection` with TLS; made by the `ssl.SSLContext` of `dicom_io.network.tls` from a plain socket."""


def certificate_of(connection: object) -> str:
    """The SHA-256 of the certificate (DER) that the peer of a connection has shown, in hexadecimal; "" without TLS."""
    shown = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    return hashlib.sha256(shown).hexdigest() if shown else ""


def send_at_once(connection: socket.socket) -> None:
    """Switch Nagle's algorithm off: with the peer's delayed ACK it would delay each message by 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge(connection: socket.socket) -> None:
    """Acknowledge received bytes at once, before we wait for more.

    A peer with Nagle's algorithm (dcmtk has it) holds back the last bytes of an object until then, and by default the
    kernel delays the ACK by 40 ms. The kernel falls back to that by itself, so this is called before each wait.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
