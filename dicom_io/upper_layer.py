"""pynetdicom's association and upper layer provider with bounds (PS3.8), and without polling.

What is added to pynetdicom's: a size for each PDU, a time for each, for the request and for the whole association, a
size for each object and for all of them together, an answer to a request that lacks an element, and the reason of each
end. Where pynetdicom sleeps a millisecond and looks again, in two threads for each association, these wait.
"""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, P_DATA_TF

from dicom_io.fragments import Fragments, is_response
from dicom_io.reasons import Reason
from dicom_io.violation import AbortReason, Violation

if TYPE_CHECKING:
    import ssl

    from pynetdicom.ae import ApplicationEntity

    from dicom_io.budget import Budget
    from dicom_io.options import ListenerOptions
    from dicom_io.status import StoreStatus
    from dicom_io.transport import BoundedSocket

#: The request of an association: 128 contexts with 40 transfer syntaxes each have 150 KiB.
MAX_REQUEST_BYTES = 256 << 10
#: Release and abort have 4 bytes, a rejection too.
_MAX_CONTROL_BYTES = 1024
_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x01, 0x04, 0x05, 0x06, 0x07
#: How long one waits for what would ring: only timers are late by that much.
_WAIT_S = 0.5
#: How long a reader waits that may not read, for want of memory or of answers.
_PAUSE_S = 0.02
#: How long an ended association waits for the peer to take note, so that our last PDU is not lost to a reset.
_LINGER_S = 1.0
_PROVIDER = 0x02
# What decoders raise at bytes that are not what they expect.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError, struct.error)


#: What may come in each state of an acceptor (PS3.8 Table 9-10); an abort always may.
_EXPECTED = {"Sta2": {_ASSOCIATE_RQ}, "Sta6": {_P_DATA, _RELEASE_RQ}, "Sta7": {_P_DATA, _RELEASE_RQ, _RELEASE_RP}}


class Watcher(Protocol):
    """Who is asked and told about associations."""

    def on_violation(self, association: BoundedAssociation, reason: Reason) -> None:
        """The association ends, or its connection never became one."""

    def on_incomplete(self, association: BoundedAssociation) -> StoreStatus:
        """A C-STORE request lacks its class or its instance: the status to answer it with."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the associations of one listener have in common."""

    options: ListenerOptions
    budget: Budget
    watcher: Watcher
    tls: ssl.SSLContext | None = None


class BoundedAssociation(Association):
    """An association that we accept, from the first byte of its connection to the last.

    Parameters
    ----------
    ae : ApplicationEntity
        Ours.
    bounds : Bounds
        Limits, and whom to tell when one is reached.
    """

    dul: BoundedProvider

    def __init__(self, ae: ApplicationEntity, bounds: Bounds) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.bounds = bounds
        self.end_at = time.monotonic() + bounds.options.association_timeout_s
        self.violation: Reason | None = None
        self.news = threading.Event()
        self._reactor_checkpoint = _Checkpoint(self)
        self.dul = BoundedProvider(self)
        # pynetdicom's setters arm the timers of the provider they find.
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout

    @property
    def has_work(self) -> bool:
        """Whether there is something for this association's thread to do."""
        return self._kill or not (self.dimse.msg_queue.empty() and self.dul.to_user_queue.empty())

    def violate(self, reason: Reason) -> None:
        """Note why this association ends; the first reason counts."""
        if self.violation is None:
            self.violation = reason
            self.bounds.watcher.on_violation(self, reason)

    def run_reactor(self) -> None:
        """Run the association on its thread: TLS, the request, then what comes."""
        transport = self.dul.transport
        try:
            if self._secured(transport):
                transport.end_at = time.monotonic() + self.bounds.options.acse_timeout_s
                super().run_reactor()
                self._check_request()
        finally:
            self.bounds.budget.release(self)
            transport.close()
            transport.bell.close()

    def _secured(self, transport: BoundedSocket) -> bool:
        if self.bounds.tls is None:
            return True
        try:
            transport.secure(self.bounds.tls, self.bounds.options.acse_timeout_s)
        except OSError:
            self.violate(Reason.TLS_FAILED)
            return False
        return True

    def _check_request(self) -> None:
        if self.requestor.primitive is None and not self.dul.peer_left:
            self.violate(Reason.ASSOCIATION_TIMED_OUT)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if getattr(msg, "Priority", 0) is None:
            # Mandatory, and of no use to us.
            msg.Priority = 0
        if msg.is_valid_request:
            super()._serve_request(msg, context_id)
        else:
            self._answer_incomplete(msg, context_id)
        self.dul.restart_idle_timer()

    def _answer_incomplete(self, msg: Any, context_id: int) -> None:
        """Answer a request that lacks an element; pynetdicom would leave its sender waiting."""
        if not isinstance(msg, C_STORE) or msg.MessageID is None or msg.MessageIDBeingRespondedTo is not None:
            self.violate(Reason.PROTOCOL_ERROR)
            self.abort()
            return
        answer = C_STORE()
        answer.MessageIDBeingRespondedTo = msg.MessageID
        answer.AffectedSOPClassUID = msg.AffectedSOPClassUID
        answer.AffectedSOPInstanceUID = msg.AffectedSOPInstanceUID
        for element in self.bounds.watcher.on_incomplete(self).as_dataset():
            setattr(answer, element.keyword, element.value)
        self.dimse.send_msg(answer, context_id)


class BoundedProvider(DULServiceProvider):
    """The upper layer of a `BoundedAssociation`.

    Parameters
    ----------
    assoc : BoundedAssociation
        Whose.
    """

    def __init__(self, assoc: BoundedAssociation) -> None:
        super().__init__(assoc)
        # pynetdicom would sleep that long before each look at the connection; `_is_transport_event` waits better.
        self._run_loop_delay = 0
        self._bounded = assoc
        options = assoc.bounds.options
        self.fragments = Fragments(options.max_object_bytes)
        #: Requests that came in whole and are not answered.
        self.unanswered = 0
        #: Whether the peer closed the connection.
        self.peer_left = False
        self._broken_by: Violation | None = None
        self._lingers_until: float | None = None
        self._heard_at = time.monotonic()

    @property
    def transport(self) -> BoundedSocket:
        """The connection."""
        return self.socket  # type: ignore[return-value]

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way: no request half received, none without its answer."""
        return self.unanswered == 0 and self.fragments.between_messages

    def restart_idle_timer(self) -> None:
        """Begin to count anew how long the peer has been silent: it was our turn."""
        self._idle_timer.restart()

    def idle_timer_expired(self) -> bool:
        """Whether the peer has been silent for too long, or the association open for too long."""
        expired = super().idle_timer_expired() or time.monotonic() > self._bounded.end_at
        if expired:
            self._bounded.violate(Reason.ASSOCIATION_TIMED_OUT)
        return expired

    def kill_dul(self) -> None:
        """End the thread."""
        super().kill_dul()
        # Wakes who waits for a request that will not come.
        self.to_user_queue.put(None)
        self._bounded.news.set()
        self.transport.bell.ring()

    def stop_dul(self) -> bool:
        """End the thread if no connection is left; return whether there is none."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        self.join()
        return True

    def send_pdu(self, primitive: Any) -> None:
        """Hand over what is to be sent."""
        super().send_pdu(primitive)
        self.transport.bell.ring()

    def _send(self, pdu: Any) -> None:
        if isinstance(pdu, A_ABORT_RQ):
            self._say_why(pdu)
        elif isinstance(pdu, P_DATA_TF) and _answers(pdu):
            self.unanswered = max(0, self.unanswered - 1)
            self._settle()
        super()._send(pdu)

    def _say_why(self, pdu: A_ABORT_RQ) -> None:
        if self._broken_by is not None:
            pdu.source, pdu.reason_diagnostic = _PROVIDER, int(self._broken_by.abort)
        elif pdu.source == _PROVIDER:
            # pynetdicom itself found something wrong.
            self._bounded.violate(Reason.PROTOCOL_ERROR)

    def _settle(self) -> None:
        if self.idle:
            self._bounded.bounds.budget.release(self._bounded)

    def _is_transport_event(self) -> bool:
        if self._bounded.has_work:
            self._bounded.news.set()
        if not self.event_queue.empty():
            # What has come is judged by the state, so what was there before goes first.
            return False
        if self.state_machine.current_state == "Sta13":
            return self._linger()
        if not self._may_read():
            self._idle_timer.restart()
            self.transport.wait(_PAUSE_S, readable=False)
            return False
        if self.transport.arrived():
            self._read_pdu_data()
            self._heard_at = time.monotonic()
            return True
        if self._stalls():
            self._end(Violation(Reason.ASSOCIATION_TIMED_OUT))
        else:
            self.transport.wait(_WAIT_S)
        return False

    def _stalls(self) -> bool:
        """Whether the peer holds the memory that others wait for, and sends nothing."""
        bounds, silent_s = self._bounded.bounds, time.monotonic() - self._heard_at
        is_its_turn = not self.unanswered and silent_s > bounds.options.pdu_timeout_s
        return is_its_turn and bounds.budget.is_waited_for(self._bounded)

    def _may_read(self) -> bool:
        """Whether there is room: a peer that does not wait for answers has to wait with its next request but one."""
        if self.state_machine.current_state != "Sta6":
            return True
        return self._bounded.dimse.msg_queue.empty() and self._bounded.bounds.budget.may_take(self._bounded)

    def _linger(self) -> bool:
        """Wait for the peer to close, so that what we sent last is not lost to a reset."""
        now = time.monotonic()
        if self._lingers_until is None:
            self._lingers_until = now + _LINGER_S
            self.transport.end_sending()
        if now >= self._lingers_until or self.transport.discard():
            self.transport.close()
        else:
            self.transport.wait(self._lingers_until - now)
        return True

    def _read_pdu_data(self) -> None:
        try:
            self._receive()
        except Violation as violation:
            self._end(violation)
        except TimeoutError:
            self._end(Violation(Reason.ASSOCIATION_TIMED_OUT))
        except OSError:
            self._lose()

    def _end(self, violation: Violation) -> None:
        self._broken_by = violation
        self._bounded.violate(violation.reason)
        # Evt19: invalid PDU; the state machine sends the A-ABORT.
        self.event_queue.put("Evt19")

    def _lose(self) -> None:
        self.peer_left = True
        # Evt17: the connection is closed.
        self.event_queue.put("Evt17")

    def _receive(self) -> None:
        """Read a PDU (PS3.8 section 9.3.1)."""
        header = self.transport.recv(6)
        if len(header) < 6:
            self._lose()
            return
        kind, length = struct.unpack(">BxL", header)
        self._check(kind, length)
        body = bytes(self.transport.recv(length))
        if len(body) < length:
            self._lose()
            return
        self._pass_on(kind, self._counted(body) if kind == _P_DATA else body)

    def _check(self, kind: int, length: int) -> None:
        if not _ASSOCIATE_RQ <= kind <= _ABORT:
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.UNRECOGNISED_PDU)
        if kind != _ABORT and kind not in _EXPECTED.get(self.state_machine.current_state, ()):
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.UNEXPECTED_PDU)
        limits = {_ASSOCIATE_RQ: MAX_REQUEST_BYTES, _P_DATA: self._bounded.bounds.options.max_pdu}
        if length > limits.get(kind, _MAX_CONTROL_BYTES):
            raise Violation(Reason.PDU_TOO_LARGE, AbortReason.INVALID_PARAMETER)

    def _counted(self, body: bytes) -> bytes:
        """Count what has come, and return what of it is to be collected."""
        taken = self.fragments.take(body, self._bounded._accepted_cx)
        budget, message = self._bounded.bounds.budget, self._bounded.dimse.message
        if self.fragments.overrun and message is not None:
            message.data_set = BytesIO()
            budget.release(self._bounded)
        budget.take(self._bounded, len(taken.body))
        self.unanswered += taken.request
        self._settle()
        return taken.body

    def _pass_on(self, kind: int, body: bytes) -> None:
        """Decode a PDU and give it to the state machine."""
        try:
            pdu, event = self._decode_pdu(bytearray(struct.pack(">BxL", kind, len(body)) + body))
            if kind != _P_DATA:
                # Here, where an error ends the association; in the state machine it would end the thread.
                pdu.to_primitive()
        except _UNREADABLE as exc:
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.INVALID_PARAMETER) from exc
        if kind == _ASSOCIATE_RQ:
            self.transport.end_at = self._bounded.end_at
        self.peer_left = self.peer_left or kind == _ABORT
        self.event_queue.put(event)
        self._recv_pdu.put(pdu)


def _answers(pdu: P_DATA_TF) -> bool:
    """Whether a PDU that we send begins a response."""
    return is_response(pdu.presentation_data_value_items[0].presentation_data_value or b"")


class _Checkpoint(threading.Event):
    """Stands where pynetdicom's association thread passes in every turn, and holds it until there is work.

    Clearing it pauses the thread, as pynetdicom means it; then it waits for whoever cleared it.
    """

    def __init__(self, association: BoundedAssociation) -> None:
        super().__init__()
        self._association = association
        self.set()

    def set(self) -> None:
        super().set()
        self._association.news.set()

    def wait(self, timeout: float | None = None) -> bool:
        news = self._association.news
        news.clear()
        if not self._association.has_work:
            news.wait(_WAIT_S)
        return super().wait(timeout)
