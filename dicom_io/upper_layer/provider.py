"""pynetdicom's upper layer provider (PS3.8) with bounds, and without polling.

Added to pynetdicom's: a limit on the size and time of each PDU, a limit on the size of each object and of all objects
together, the order in which PDUs may arrive, and a reason in each A-ABORT. pynetdicom sleeps a millisecond and looks
again; this waits for an event.
"""

from __future__ import annotations

import queue
import struct
import time
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, P_DATA_TF

from dicom_io.reasons import Reason
from dicom_io.upper_layer.associate_pdu import RETURNED, read_proposal, titles_of
from dicom_io.upper_layer.fragments import Fragments
from dicom_io.upper_layer.object_stream import ObjectStream
from dicom_io.upper_layer.pdus import AcceptancePdu, DataPdu, RequestPdu, ResponsePdu, ends_response
from dicom_io.upper_layer.violation import AbortReason, Violation

if TYPE_CHECKING:
    from dicom_io.upper_layer.bounds import AssociationState
    from dicom_io.upper_layer.transport import BoundedSocket

#: Largest A-ASSOCIATE-RQ: 128 contexts with 40 transfer syntaxes each need 150 KiB.
MAX_REQUEST_BYTES = 256 << 10
#: Type and length of a PDU.
_HEAD_BYTES = 6
#: Largest of the other PDUs: release, abort and rejection have 4 bytes.
_MAX_CONTROL_BYTES = 1024
_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x01, 0x04, 0x05, 0x06, 0x07
_LONGEST = {_ASSOCIATE_RQ: MAX_REQUEST_BYTES}
#: How long a thread waits for an event at most: timers can be late by that much.
WAIT_S = 0.5
#: How long a provider waits that may not read, because memory or an answer is missing.
_PAUSE_S = 0.02
#: How long an ended association waits for the peer to close, so that our last PDU is not lost to a reset.
_LINGER_S = 1.0
_PROVIDER = 0x02
#: What pynetdicom's decoders raise for malformed bytes.
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)
#: The PDUs that may arrive in each state of an acceptor (PS3.8 Table 9-10); an abort may always.
_EXPECTED = {"Sta2": {_ASSOCIATE_RQ}, "Sta6": {_P_DATA, _RELEASE_RQ}, "Sta7": {_P_DATA, _RELEASE_RQ, _RELEASE_RP}}


class BoundedProvider(DULServiceProvider):
    """The upper layer of an association that we accept.

    Parameters
    ----------
    assoc : AssociationState
        The association.
    """

    def __init__(self, assoc: AssociationState) -> None:
        super().__init__(assoc)
        # pynetdicom would sleep that long before each turn; `_is_transport_event` waits instead.
        self._run_loop_delay = 0
        self._bounded = assoc
        self.fragments = Fragments(assoc.bounds.limits.max_object_bytes)
        self._stream = ObjectStream(assoc)
        #: Requests that arrived whole and are not yet answered.
        self.unanswered = 0
        #: Whether the peer closed the connection.
        self.peer_left = False
        self._broken_by: Violation | None = None
        self._lingers_until: float | None = None
        self._received_at = time.monotonic()
        #: The bytes of the request that its acceptance returns.
        self._returned = b""

    @property
    def transport(self) -> BoundedSocket:
        """The transport, with the connection of the association."""
        return self.socket  # type: ignore[return-value]

    @property
    def idle(self) -> bool:
        """Whether no request is half received and none is unanswered."""
        return self.unanswered == 0 and self.fragments.between_messages

    def restart_idle_timer(self) -> None:
        """Restart the time that the peer may be silent: it was our turn."""
        self._idle_timer.restart()

    def idle_timer_expired(self) -> bool:
        """Whether the peer has been silent for too long, or the association open for too long."""
        # As long as an answer is due it is our turn.
        is_silent = super().idle_timer_expired() and not self.unanswered
        expired = is_silent or time.monotonic() > self._bounded.end_at
        if expired:
            self._bounded.record_violation(Reason.ASSOCIATION_TIMED_OUT)
        return expired

    def kill_dul(self) -> None:
        """End the thread."""
        super().kill_dul()
        # Wakes a thread that waits for a request: it will not arrive.
        self.to_user_queue.put(cast("Any", None))
        self._bounded.news.set()
        self.transport.wakeup.wake()

    def stop_dul(self) -> bool:
        """End the thread if the connection is closed; return whether it is."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        self.join()
        return True

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive for sending."""
        super().send_pdu(primitive)
        self.transport.wakeup.wake()

    def run_reactor(self) -> None:
        """Run the provider on its thread; an object that has not arrived whole is dropped at its end."""
        try:
            super().run_reactor()
        finally:
            self._stream.drop()

    def _send(self, pdu: Any) -> None:
        if isinstance(pdu, A_ABORT_RQ):
            self._stream.drop()
            self._add_reason(pdu)
        elif isinstance(pdu, A_ASSOCIATE_AC):
            pdu = AcceptancePdu(pdu, self._returned, self._bounded.agreement.items)
        elif isinstance(pdu, P_DATA_TF) and ends_response(pdu):
            self.unanswered = max(0, self.unanswered - 1)
            self._release_if_idle()
        super()._send(pdu)

    def _add_reason(self, pdu: A_ABORT_RQ) -> None:
        if self._broken_by is not None:
            pdu.source, pdu.reason_diagnostic = _PROVIDER, int(self._broken_by.abort)
        elif pdu.source == _PROVIDER:
            # pynetdicom itself found an error.
            self._bounded.record_violation(Reason.PROTOCOL_ERROR)

    def _release_if_idle(self) -> None:
        if self.idle:
            self._bounded.bounds.budget.release(self._bounded)

    def _process_recv_primitive(self) -> bool:
        if self.state_machine.current_state != "Sta13":
            return super()._process_recv_primitive()
        # The association has ended; an answer that was made meanwhile cannot be sent.
        with suppress(queue.Empty):
            self.to_provider_queue.get(block=False)
        return False

    def _is_transport_event(self) -> bool:
        if self._bounded.has_work:
            self._bounded.news.set()
        if not self.event_queue.empty():
            # PDUs are checked against the state, so earlier events go first.
            return False
        if self.state_machine.current_state == "Sta13":
            return self._linger()
        if not self._may_read():
            self._idle_timer.restart()
            self.transport.wait(_PAUSE_S, readable=False)
            return False
        if self.transport.arrived():
            self._read_pdu_data()
            self._received_at = time.monotonic()
            return True
        if self._stalls():
            self._end(Violation(Reason.ASSOCIATION_TIMED_OUT))
        else:
            self.transport.wait(WAIT_S)
        return False

    def _stalls(self) -> bool:
        """Whether the peer holds the memory that others wait for, and sends nothing."""
        bounds, silent_s = self._bounded.bounds, time.monotonic() - self._received_at
        is_silent = not self.unanswered and silent_s > bounds.limits.pdu_timeout_s
        return is_silent and bounds.budget.is_waited_for(self._bounded)

    def _may_read(self) -> bool:
        """Whether the next PDU may be read: every request is answered, and there is memory for the object."""
        if self.state_machine.current_state != "Sta6":
            # While our answer is pending (Sta3, Sta8) nothing is read: it could end the association before the answer.
            return self.state_machine.current_state not in ("Sta3", "Sta8")
        return not self.unanswered and self._bounded.bounds.budget.may_take(self._bounded)

    def _linger(self) -> bool:
        """Wait for the peer to close, so that our last PDU is not lost to a reset."""
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
        self._stream.drop()
        self._broken_by = violation
        self._bounded.record_violation(violation.reason)
        # Evt19: invalid PDU; the state machine sends the A-ABORT.
        self.event_queue.put("Evt19")

    def _lose(self) -> None:
        self._stream.drop()
        self.peer_left = True
        # Evt17: the connection is closed.
        self.event_queue.put("Evt17")

    def _receive(self) -> None:
        """Read a PDU; of an object all that have arrived."""
        if not self._take_data():
            self._receive_pdu()
            self._take_data()
        if self._stream.flush():
            self.transport.flip()
        if self.unanswered and self._stream.is_open:
            for value in self._stream.finish(is_too_large=self.fragments.overrun):
                self._send(ResponsePdu(value))

    def _take_data(self) -> bool:
        """Take what has arrived of an object's data; return whether that was any."""
        if self.unanswered or not self._stream.is_open:
            return False
        limits, context_id = self._bounded.bounds.limits, self._stream.context_id
        parts, size = self.fragments.take_data(self.transport.buffered, context_id, limits.max_pdu)
        if not parts:
            return False
        self.transport.skip(size)
        self._stream.extend(parts)
        self._bounded.bounds.budget.take(self._bounded, size)
        self.unanswered += self.fragments.between_messages
        return True

    def _receive_pdu(self) -> None:
        """Read a PDU (PS3.8 section 9.3.1)."""
        header = self.transport.take(_HEAD_BYTES)
        if len(header) < _HEAD_BYTES:
            self._lose()
            return
        kind, length = struct.unpack(">BxL", header)
        self._check(kind, length)
        body = self.transport.take(length)
        if len(body) < length:
            self._lose()
        elif kind == _P_DATA:
            self._collect(body)
        elif kind == _ASSOCIATE_RQ:
            self._propose(bytes(body))
        else:
            self._pass_on(kind, bytes(body))

    def _check(self, kind: int, length: int) -> None:
        if not _ASSOCIATE_RQ <= kind <= _ABORT:
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.UNRECOGNISED_PDU)
        if kind != _ABORT and kind not in _EXPECTED.get(self.state_machine.current_state, ()):
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.UNEXPECTED_PDU)
        longest = self._bounded.bounds.limits.max_pdu if kind == _P_DATA else _LONGEST.get(kind, _MAX_CONTROL_BYTES)
        if length > longest:
            raise Violation(Reason.PDU_TOO_LARGE, AbortReason.INVALID_PARAMETER)

    def _collect(self, body: memoryview) -> None:
        """Count a P-DATA-TF, and hand on the part of it that is kept: to the stream, the rest to the state machine."""
        contexts = self._bounded.agreement.accepted
        taken = self.fragments.take(body, contexts)
        budget = self._bounded.bounds.budget
        others = self._stream.take(taken.items, self.fragments.command, contexts)
        if self.fragments.overrun:
            self._shed()
            budget.release(self._bounded)
        budget.take(self._bounded, sum(len(value) for _, value in taken.items))
        self.unanswered += taken.request
        self._release_if_idle()
        if others:
            self._put(DataPdu(others), "Evt10")

    def _shed(self) -> None:
        """Drop what was collected of an object over the limit."""
        self._stream.shed()
        if (message := self._bounded.dimse.message) is not None:
            message.data_set = BytesIO()

    def _propose(self, body: bytes) -> None:
        """Read an A-ASSOCIATE-RQ; the state machine is only told that it arrived."""
        association = self._bounded
        association.titles = titles_of(body)
        association.proposal = read_proposal(body)
        self._returned = body[RETURNED]
        self.transport.end_at = association.end_at
        self._put(RequestPdu(association.proposal.max_length), "Evt6")

    def _pass_on(self, kind: int, body: bytes) -> None:
        """Decode a PDU and give it to the state machine."""
        self._stream.drop()
        try:
            pdu, event = self._decode_pdu(bytearray(struct.pack(">BxL", kind, len(body))) + body)
            # An error here ends the association; in the state machine it would end the thread.
            pdu.to_primitive()
        except UNREADABLE as exc:
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.INVALID_PARAMETER) from exc
        self.peer_left = self.peer_left or kind == _ABORT
        self._put(pdu, event)

    def _put(self, pdu: Any, event: str) -> None:
        self.event_queue.put(event)
        self._recv_pdu.put(pdu)
