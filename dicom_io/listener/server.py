"""The listener's TCP server: what pynetdicom's server does not bound between accept() and the first PDU."""

from __future__ import annotations

import logging
import socket
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import AddressInformation, AssociationServer, RequestHandler

from dicom_io.network.addresses import plain_address
from dicom_io.network.connection import Connection
from dicom_io.reasons import Reason
from dicom_io.upper_layer.association import BoundedAssociation
from dicom_io.upper_layer.provider import MAX_REQUEST_BYTES
from dicom_io.upper_layer.transport import BoundedSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

    from dicom_io.listener.options import ListenerOptions
    from dicom_io.upper_layer.bounds import Bounds

logger = logging.getLogger(__name__)


class ConnectionHandler(RequestHandler):
    """Makes an association from a connection."""

    server: Server

    def _create_association(self) -> BoundedAssociation:
        """Return an association with the handlers that pynetdicom would bind, on our own transport and upper layer."""
        server, bounds = self.server, self.server.bounds
        assoc = BoundedAssociation(self.ae, bounds)
        assoc._server = server
        # pynetdicom finds a server's associations by this part of their name.
        assoc.name = f"AcceptorThread@{datetime.now(UTC):%Y%m%d%H%M%S}"
        timeout_s = min(bounds.limits.pdu_timeout_s, bounds.limits.network_timeout_s)
        longest = max(bounds.limits.max_pdu, MAX_REQUEST_BYTES)
        assoc.set_socket(BoundedSocket(assoc, self.request, timeout_s, longest))
        assoc.acceptor.maximum_length = self.ae.maximum_pdu_size
        assoc.acceptor.ae_title = server.ae_title
        assoc.acceptor.address_info = self.local
        assoc.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        assoc.acceptor.implementation_version_name = self.ae.implementation_version_name
        assoc.requestor.address_info = self.remote
        server.bind_handlers(assoc)
        return assoc


class Server(AssociationServer):
    """Refuses connections by address and number before anything is read; each accepted one has a thread of its own.

    Parameters
    ----------
    *args, **kwargs
        Passed on to pynetdicom's server.
    bounds : Bounds
        The bounds of each association.
    options : ListenerOptions
        The addresses that may connect, and the number of associations.
    on_refused : callable
        Called with the reason and the address of a refused connection.
    """

    # The kernel holds this many connections of a burst; with pynetdicom's 5 the others wait a second and more.
    request_queue_size = 128

    def __init__(
        self,
        *args: Any,
        bounds: Bounds,
        options: ListenerOptions,
        on_refused: Callable[[Reason, str], None],
        **kwargs: Any,
    ) -> None:
        self.bounds = bounds
        self._options = options
        self._on_refused = on_refused
        self._bindings: list[Any] = kwargs.get("evt_handlers") or []
        super().__init__(*args, **kwargs)
        self.RequestHandlerClass = ConnectionHandler

    @staticmethod
    def max_connections(options: ListenerOptions) -> int:
        """How many connections may be open, associated or not."""
        return 4 * options.max_associations + 16

    @staticmethod
    def max_connections_of_peer(options: ListenerOptions) -> int:
        """How many connections may be open from one address."""
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
        """Return whether a connection may stay open."""
        host = plain_address(client_address[0])
        reason = self._reason_against(host)
        if reason:
            self._on_refused(reason, host)
        return reason is None

    def _reason_against(self, host: str) -> Reason | None:
        options = self._options
        if not options.admits(host):
            return Reason.ADDRESS_NOT_ALLOWED
        open_now = [host_of(association) for association in self.active_associations]
        if len(open_now) >= self.max_connections(options):
            return Reason.TOO_MANY_ASSOCIATIONS
        if open_now.count(host) >= self.max_connections_of_peer(options):
            return Reason.TOO_MANY_FROM_PEER
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """Log the class of an error; socketserver would print a traceback."""
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


def disconnect(association: Association) -> None:
    """Close an association's connection at once, even while its thread waits inside a PDU."""
    transport = association.dul.socket
    # Read only once: the association's own threads close the socket and set it to None.
    connection = transport.socket if transport is not None else None
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)
