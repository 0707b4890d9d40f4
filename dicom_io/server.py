"""The listener's TCP side: what pynetdicom's server leaves open between accept() and the first PDU."""

from __future__ import annotations

import logging
import math
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import AssociationServer

from dicom_io.connection import Connection
from dicom_io.options import plain_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

    from dicom_io.options import ListenerOptions

logger = logging.getLogger(__name__)


class Server(AssociationServer):
    """Refuses by address before anything is read, and gives every connection the options a receiver needs.

    Parameters
    ----------
    *args, **kwargs
        As pynetdicom passes them.
    options : ListenerOptions
        Whose addresses and limits to keep.
    on_address_refused : callable
        Told the address of a connection that was not let in.
    """

    # Of a burst of connections the kernel holds this many; with pynetdicom's 5 the others wait a second and more.
    request_queue_size = 128

    def __init__(
        self, *args: Any, options: ListenerOptions, on_address_refused: Callable[[str], None], **kwargs: Any
    ) -> None:
        self._options = options
        self._on_address_refused = on_address_refused
        super().__init__(*args, **kwargs)

    @staticmethod
    def max_connections(options: ListenerOptions) -> int:
        """How many connections may be open, associated or not."""
        return 4 * options.max_associations + 16

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection."""
        accepted, address = super().get_request()
        connection = Connection(accepted)
        # pynetdicom's timers do not run while it reads a PDU: a peer that falls silent inside one would stay for ever.
        timeout = struct.pack("ll", math.ceil(self._options.network_timeout_s), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's signature
        """Let a connection in or have it closed."""
        host = plain_address(client_address[0])
        if not self._options.admits(host):
            self._on_address_refused(host)
            return False
        if len(self.active_associations) >= self.max_connections(self._options):
            logger.warning("Too many connections", extra={"action": "connection_limit", "peer": host})
            return False
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """Log what went wrong with a connection, where socketserver prints a traceback."""
        exc = sys.exception()
        logger.error(
            "A connection could not be served",
            extra={"action": "connection_failed", "peer": str(client_address[0]), "error": type(exc).__name__},
        )

    def shutdown(self) -> None:
        """Stop accepting and close the listening socket; associations go on."""
        # Not pynetdicom's method: that one takes the server off a list of its AE, where only start_server() puts it.
        super(AssociationServer, self).shutdown()
        self.server_close()


def cut(association: Association) -> None:
    """Close an association's connection at once, even while its thread waits inside a PDU."""
    transport = association.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.shutdown(socket.SHUT_RDWR)
