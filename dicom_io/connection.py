"""A TCP connection as both sides of ours need it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.events import Event


class Connection(socket.socket):
    """A connected TCP socket that sends at once and that pynetdicom cannot forget to close.

    Parameters
    ----------
    plain : socket.socket
        The connected socket to take over; it is detached and of no more use.
    """

    def __init__(self, plain: socket.socket) -> None:
        super().__init__(fileno=plain.detach())
        # Nagle's algorithm against the other side's delayed ACK would hold back each message for some 40 ms.
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def shutdown(self, how: int) -> None:
        """End the connection, if the other side has not done so."""
        # pynetdicom calls shutdown() and close() in one `try`: an error of the first would leave the socket open.
        with suppress(OSError):
            super().shutdown(how)


def take_over(event: Event) -> None:
    """Handle pynetdicom's EVT_CONN_OPEN of an association we request: put a `Connection` in its socket's place."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket = Connection(transport.socket)
