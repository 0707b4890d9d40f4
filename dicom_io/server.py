"""The listener's TCP side: what pynetdicom's server leaves open between accept() and the first PDU."""

from __future__ import annotations

import logging
import socket
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import AddressInformation, AssociationServer, RequestHandler

from dicom_io.accepting import BoundedAssociation
from dicom_io.connection import Connection
from dicom_io.options import plain_address
from dicom_io.reasons import Reason
from dicom_io.transport import BoundedSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

    from dicom_io.accepting import Bounds
    from dicom_io.options import ListenerOptions

logger = logging.getLogger(__name__)


class Opening(RequestHandler):
    """Makes an association of a connection."""

    server: Server

    def _create_association(self) -> BoundedAssociation:
        """Return an association bound as pynetdicom would, with a transport and an upper layer of our own."""
        server, bounds = self.server, self.server.bounds
        assoc = BoundedAssociation(self.ae, bounds)
        assoc._server = server
        # pynetdicom finds a server's associations by this part of their name.
        assoc.name = f"AcceptorThread@{datetime.now(UTC):%Y%m%d%H%M%S}"
        timeout_s = min(bounds.options.pdu_timeout_s, bounds.options.network_timeout_s)
        assoc.set_socket(BoundedSocket(assoc, self.request, timeout_s))
        assoc.acceptor.maximum_length = self.ae.maximum_pdu_size
        assoc.acceptor.ae_title = server.ae_title
        assoc.acceptor.address_info = self.local
        assoc.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        assoc.acceptor.implementation_version_name = self.ae.implementation_version_name
        assoc.requestor.address_info = self.remote
        server.bind_handlers(assoc)
        return assoc


class Server(AssociationServer):
    """Refuses by address and number before anything is read; all else happens on the connections' own threads.

    Parameters
    ----------
    *args, **kwargs
        As pynetdicom passes them.
    bounds : Bounds
        Whose addresses and limits to keep.
    on_refused : callable
        Told the reason and the address of a connection that was not let in.
    """

    # Of a burst of connections the kernel holds this many; with pynetdicom's 5 the others wait a second and more.
    request_queue_size = 128

    def __init__(self, *args: Any, bounds: Bounds, on_refused: Callable[[Reason, str], None], **kwargs: Any) -> None:
        self.bounds = bounds
        self._on_refused = on_refused
        self._bindings: list[Any] = kwargs.get("evt_handlers") or []
        super().__init__(*args, **kwargs)
        self.RequestHandlerClass = Opening

    @staticmethod
    def max_connections(options: ListenerOptions) -> int:
        """How many connections may be open, associated or not."""
        return 4 * options.max_associations + 16

    @staticmethod
    def max_connections_of_peer(options: ListenerOptions) -> int:
        """Of them, from one address."""
        return min(2 * options.max_per_peer + 8, Server.max_connections(options))

    def bind_handlers(self, association: Association) -> None:
        """Bind the listener's handlers to an association."""
        for binding in self._bindings:
            association.bind(*binding)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection."""
        accepted, address = super().get_request()
        return Connection(accepted), address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's signature
        """Let a connection in or have it closed."""
        host = plain_address(client_address[0])
        reason = self._reason_against(host)
        if reason:
            self._on_refused(reason, host)
        return reason is None

    def _reason_against(self, host: str) -> Reason | None:
        options = self.bounds.options
        if not options.admits(host):
            return Reason.ADDRESS_NOT_ALLOWED
        open_now = [host_of(association) for association in self.active_associations]
        if len(open_now) >= self.max_connections(options):
            return Reason.TOO_MANY_ASSOCIATIONS
        if open_now.count(host) >= self.max_connections_of_peer(options):
            return Reason.TOO_MANY_FROM_PEER
        return None

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


def host_of(association: Association) -> str:
    """Return the address of an association's peer."""
    address: AddressInformation | None = association.requestor.address_info
    return plain_address(address.address) if address else ""


def cut(association: Association) -> None:
    """Close an association's connection at once, even while its thread waits inside a PDU."""
    transport = association.dul.socket
    # Looked at once: the association's own threads close it and forget it.
    connection = transport.socket if transport is not None else None
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)
