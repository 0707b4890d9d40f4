"""Opening an association to a peer; used by echo, send, query, retrieve and the commitment report."""

from __future__ import annotations

import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import AE, evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.transport import AddressInformation, AssociationSocket

from dicom_io.clean import clean_text
from dicom_io.client.connect import CannotConnect, ConnectionStage, ConnectionStep, LinkProblem, StepTimer, open_link
from dicom_io.errors import PeerUnreachable
from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_io.network.pynetdicom_setup import quiet_network_libraries
from dicom_io.upper_layer.associate_pdu import readable_acceptance
from dicom_io.upper_layer.command_set import read_command
from dicom_io.upper_layer.fragments import ends_command
from dicom_io.upper_layer.violation import Violation

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext
    from pynetdicom.transport import T_CONNECT

    from dicom_io.client.peer import Peer

CALLING_AET = "AUSCULT_SCU"
#: How long to wait for a connection and for an answer, in seconds.
TIMEOUT_S = 30.0
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_MAX_PDU = 131072
_ASSOCIATE_AC, _HEAD_BYTES = 0x02, 6
_CLOSE_S = 2.0

_RESULTS = {1: "rejected for good", 2: "rejected for now"}
#: Source and reason of PS3.8 Table 9-21, in words.
_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised, the peer does not know ours",
    (1, 7): "called AE title not recognised, the peer has another one",
    (2, 1): "no reason given by its association service",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded, too many associations",
}


class PeerRefused(PeerUnreachable):
    """The peer rejects the association (A-ASSOCIATE-RJ).

    Parameters
    ----------
    result, source, reason : int
        The codes of PS3.8 Table 9-21.
    """

    def __init__(self, result: int, source: int, reason: int) -> None:
        words = _REASONS.get((source, reason), f"source {source}, reason {reason}")
        super().__init__(f"The peer refuses the association: {words} ({_RESULTS.get(result, 'rejected')}).")
        self.rejection = (result, source, reason)

    @property
    def is_transient(self) -> bool:
        """Whether the rejection is transient: the peer may accept later."""
        return self.rejection[0] == 2


class AssociationLost(PeerUnreachable):
    """The peer ended the association before its answer was complete: check its log, and that it knows our AE title."""


@dataclass(frozen=True, slots=True)
class Caller:
    """How we present ourselves."""

    aet: str = CALLING_AET
    #: From `dicom_io.network.tls.client_context`; required for peers with TLS.
    tls: ssl.SSLContext | None = None
    #: Timeout of the connection and the association, seconds.
    timeout_s: float = TIMEOUT_S
    #: Timeout of each answer to a request, seconds.
    answer_s: float = TIMEOUT_S


@contextmanager
def association(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    caller: Caller,
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
    on_step: Callable[[ConnectionStep], None] | None = None,
) -> Iterator[Association]:
    """Open an association, and release it at the end; after an exception it is aborted.

    Parameters
    ----------
    peer : Peer
        The application entity to call.
    contexts : sequence of PresentationContext
        The contexts to propose, 1 to 128.
    caller : Caller
        Our own AE title, TLS and timeouts.
    roles : sequence of SCP_SCU_RoleSelectionNegotiation, optional
        The classes of which we want to be the SCP (PS3.7 D.3.3.4).
    handlers : sequence, optional
        pynetdicom's event handlers.
    on_step : callable, optional
        Called after each stage.

    Yields
    ------
    Association
        Established, unless the peer rejected every context: then `Association.is_established` is False.

    Raises
    ------
    CannotConnect
        If there is no connection, no TLS or no response.
    PeerRefused
        If the peer rejects the association.
    """
    quiet_network_libraries()
    steps = StepTimer(on_step)
    link = open_link(peer, caller.tls, caller.timeout_s, steps)
    made = _Ae(caller, link.socket).associate(
        link.address,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.aet,
        max_pdu=_MAX_PDU,
        ext_neg=list(roles),
        evt_handlers=list(handlers),
    )
    is_done = False
    try:
        _check(made, peer, is_late=steps.waited_s >= caller.timeout_s)
        steps.done(ConnectionStage.ASSOCIATED, implementation_of(made))
        yield made
        is_done = True
    finally:
        if made.is_established:
            (made.release if is_done else made.abort)()
        # pynetdicom does not always close the socket of a failed association.
        made.dul.join(_CLOSE_S)
        link.socket.close()


def implementation_of(made: Association) -> str:
    """Return the peer's implementation version name, or its class UID where it gave no name."""
    acceptor = made.acceptor
    return clean_text(str(acceptor.implementation_version_name or acceptor.implementation_class_uid or ""), 64)


def _check(made: Association, peer: Peer, *, is_late: bool) -> None:
    if made.is_rejected:
        answer = cast("Any", made.acceptor.primitive)
        raise PeerRefused(answer.result, answer.result_source, answer.diagnostic)
    if made.is_established or made.rejected_contexts:
        return
    if is_late:
        raise CannotConnect(LinkProblem.TIMED_OUT)
    raise CannotConnect(LinkProblem.TLS_CLOSED if peer.is_tls else LinkProblem.CLOSED)


class _Ae(AE):
    """An application entity that requests one association over an open connection."""

    def __init__(self, caller: Caller, link: socket.socket) -> None:
        super().__init__(caller.aet)
        self.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self.acse_timeout = caller.timeout_s
        self.dimse_timeout = self.network_timeout = caller.answer_s
        self._link = link

    def _create_socket(self, assoc: Association, address: AddressInformation, tls_args: object) -> AssociationSocket:  # noqa: ARG002 - pynetdicom's signature
        assoc.dul = _Provider(assoc)
        assoc._reactor_checkpoint, assoc.dimse = Checkpoint(), _Messages(assoc)
        assoc._reactor_checkpoint.set()
        # pynetdicom's setters arm the timers of the provider they find.
        assoc.acse_timeout, assoc.network_timeout = self.acse_timeout, self.network_timeout
        return _Linked(assoc, address, self._link)


class Checkpoint(threading.Event):
    """Cleared while we wait for an answer, which the association's own thread must not take."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def clear(self) -> None:
        """Keep the association's thread from taking messages from now on."""
        with self.lock:
            super().clear()


class _Messages(DIMSEServiceProvider):
    """pynetdicom's messages, of which the association's thread takes none while we wait for an answer.

    pynetdicom lets the thread through that has just passed the checkpoint. Where it is slow, it takes the answer and drops it, and
    we would wait for it until the time is over, and send the object again.
    """

    def get_msg(self, block: bool = False) -> Any:  # noqa: FBT001, FBT002 - pynetdicom's signature
        """Return the next message; at once and none for the association's thread while it is to pause."""
        if block:
            return super().get_msg(block=True)
        checkpoint = cast("Checkpoint", self.assoc._reactor_checkpoint)
        with checkpoint.lock:
            return super().get_msg() if checkpoint.is_set() else (None, None)


class _Provider(DULServiceProvider):
    """pynetdicom's upper layer, given only the parts of PDUs that are used."""

    def _decode_pdu(self, bytestream: bytearray) -> Any:
        if bytestream[0] == _ASSOCIATE_AC:
            body = readable_acceptance(bytes(bytestream[_HEAD_BYTES:]))
            bytestream = bytearray(struct.pack(">BxL", _ASSOCIATE_AC, len(body)) + body)
        pdu, event = super()._decode_pdu(bytestream)
        if isinstance(pdu, P_DATA_TF):
            for item in pdu.presentation_data_value_items:
                item.presentation_data_value = usable(item.presentation_data_value or b"")
        return pdu, event


def usable(value: bytes) -> bytes:
    """Return a presentation data value; the command set of a request is reduced as by `read_command`.

    Parameters
    ----------
    value : bytes
        Control header and fragment, of a data set or a command set. A response, or a command set in several fragments,
        is returned unchanged.
    """
    if not ends_command(value):
        return value
    try:
        command = read_command(value[1:])
    except Violation:
        return value
    return value[:1] + command.encoded if command.is_request else value


class _Linked(AssociationSocket):
    """pynetdicom's socket around an open connection."""

    def __init__(self, assoc: Association, address: AddressInformation, link: socket.socket) -> None:
        self._link = link
        super().__init__(assoc, address=address)

    def _create_socket(self, address: AddressInformation) -> socket.socket:  # noqa: ARG002 - pynetdicom's signature
        self._is_connected = False
        return self._link

    def connect(self, primitive: T_CONNECT) -> None:
        """Report that the connection is open, where pynetdicom would make one."""
        self.assoc.requestor.address_info = AddressInformation.from_tuple(self._link.getsockname())
        self._is_connected = True
        evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": primitive.address_info.as_tuple})
        primitive.result = "Evt2"
        self.provider_queue.put(primitive)
        self._ready.set()

    def close(self) -> None:
        """Close the connection.

        pynetdicom asks `_is_connected` when it begins to wait for the response. A rejection may have been read by then
        and have closed the connection, which would count as one that was never open. That it is closed, `socket` tells.
        """
        super().close()
        self._is_connected = True
