"""A TCP connection as both sides of ours need it."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress


class _Unforgotten(socket.socket):
    """What pynetdicom cannot forget to close."""

    def shutdown(self, how: int) -> None:
        """End the connection, if the other side has not done so."""
        # pynetdicom calls shutdown() and close() in one `try`: an error of the first would leave the socket open.
        # Not super(): the one of TLS would have a thread that still reads take ciphered bytes for plain ones.
        with suppress(OSError):
            socket.socket.shutdown(self, how)


class Connection(_Unforgotten):
    """A connected TCP socket that sends at once and that pynetdicom cannot forget to close.

    Parameters
    ----------
    plain : socket.socket
        The connected socket to take over; it is detached and of no more use.
    """

    def __init__(self, plain: socket.socket) -> None:
        super().__init__(fileno=plain.detach())
        send_at_once(self)


class TlsConnection(_Unforgotten, ssl.SSLSocket):
    """The same with TLS; made by the `ssl.SSLContext` of `dicom_io.tls` around a plain socket."""


def send_at_once(connection: socket.socket) -> None:
    """Switch Nagle's algorithm off: against the other side's delayed ACK it would hold back each message for 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge(connection: socket.socket) -> None:
    """Acknowledge what has come, now that we wait for more.

    A peer with Nagle's algorithm (dcmtk has it) holds the last bytes of an object back until then, and the kernel takes
    its time: 40 ms for each object. It falls back to that by itself, so this is said before each wait.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
