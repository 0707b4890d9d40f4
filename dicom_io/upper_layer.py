"""pynetdicom's upper layer provider (PS3.8) with bounds, and without polling.

What is added: a size and a time for each PDU, a size for each object and for all of them together, the order in which
things may come, and a reason in each A-ABORT. pynetdicom sleeps a millisecond and looks again; this waits.
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
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA

from dicom_io.associate import RETURNED, read_proposal, titles_of
from dicom_io.fragments import Fragments, ends_command
from dicom_io.reasons import Reason
from dicom_io.violation import AbortReason, Violation

if TYPE_CHECKING:
    from dicom_io.accepting import BoundedAssociation
    from dicom_io.transport import BoundedSocket

#: The request of an association: 128 contexts with 40 transfer syntaxes each have 150 KiB.
MAX_REQUEST_BYTES = 256 << 10
#: Type and length.
_HEAD_BYTES = 6
#: Release and abort have 4 bytes, a rejection too.
_MAX_CONTROL_BYTES = 1024
_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x01, 0x04, 0x05, 0x06, 0x07
#: How long one waits for what would ring: only timers are late by that much.
WAIT_S = 0.5
#: How long a reader waits that may not read, for want of memory or of answers.
_PAUSE_S = 0.02
#: How long an ended association waits for the peer to take note, so that our last PDU is not lost to a reset.
_LINGER_S = 1.0
_PROVIDER = 0x02
#: What decoders raise at bytes that are not what they expect.
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


#: What may come in each state of an acceptor (PS3.8 Table 9-10); an abort always may.
_EXPECTED = {"Sta2": {_ASSOCIATE_RQ}, "Sta6": {_P_DATA, _RELEASE_RQ}, "Sta7": {_P_DATA, _RELEASE_RQ, _RELEASE_RP}}


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
        #: What an acceptance returns of its request.
        self._returned = b""

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
        self.to_user_queue.put(cast("Any", None))
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
        elif isinstance(pdu, A_ASSOCIATE_AC):
            pdu = _Acceptance(pdu, self._returned)
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

    def _process_recv_primitive(self) -> bool:
        if self.state_machine.current_state != "Sta13":
            return super()._process_recv_primitive()
        # The association has ended, perhaps while an answer was made that has nowhere to go now.
        with suppress(queue.Empty):
            self.to_provider_queue.get(block=False)
        return False

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
            self.transport.wait(WAIT_S)
        return False

    def _stalls(self) -> bool:
        """Whether the peer holds the memory that others wait for, and sends nothing."""
        bounds, silent_s = self._bounded.bounds, time.monotonic() - self._heard_at
        is_its_turn = not self.unanswered and silent_s > bounds.options.pdu_timeout_s
        return is_its_turn and bounds.budget.is_waited_for(self._bounded)

    def _may_read(self) -> bool:
        """Whether it is the peer's turn and there is room: who does not wait for answers waits with its next request."""
        if self.state_machine.current_state != "Sta6":
            # While we make up our mind (Sta3, Sta8) nothing is read that would end what our answer is to go to.
            return self.state_machine.current_state not in ("Sta3", "Sta8")
        return not self.unanswered and self._bounded.bounds.budget.may_take(self._bounded)

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
        header = self.transport.recv(_HEAD_BYTES)
        if len(header) < _HEAD_BYTES:
            self._lose()
            return
        kind, length = struct.unpack(">BxL", header)
        self._check(kind, length)
        body = self.transport.recv(length)
        if len(body) < length:
            self._lose()
        elif kind == _P_DATA:
            self._collect(body)
        elif kind == _ASSOCIATE_RQ:
            self._propose(bytes(body))
        else:
            self._pass_on(kind, body)

    def _check(self, kind: int, length: int) -> None:
        if not _ASSOCIATE_RQ <= kind <= _ABORT:
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.UNRECOGNISED_PDU)
        if kind != _ABORT and kind not in _EXPECTED.get(self.state_machine.current_state, ()):
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.UNEXPECTED_PDU)
        limits = {_ASSOCIATE_RQ: MAX_REQUEST_BYTES, _P_DATA: self._bounded.bounds.options.max_pdu}
        if length > limits.get(kind, _MAX_CONTROL_BYTES):
            raise Violation(Reason.PDU_TOO_LARGE, AbortReason.INVALID_PARAMETER)

    def _collect(self, body: bytearray) -> None:
        """Count what has come, and give what of it is to be kept to the state machine."""
        taken = self.fragments.take(memoryview(body), self._bounded._accepted_cx)
        budget, message = self._bounded.bounds.budget, self._bounded.dimse.message
        if self.fragments.overrun and message is not None:
            message.data_set = BytesIO()
            budget.release(self._bounded)
        budget.take(self._bounded, sum(len(value) for _, value in taken.items))
        self.unanswered += taken.request
        self._settle()
        self._put(Data(taken.items), "Evt10")

    def _propose(self, body: bytes) -> None:
        """Read what the peer proposes; the state machine learns only that it does."""
        association = self._bounded
        association.titles = titles_of(body)
        association.proposal = read_proposal(body)
        self._returned = body[RETURNED]
        self.transport.end_at = association.end_at
        self._put(Request(association.proposal.max_length), "Evt6")

    def _pass_on(self, kind: int, body: bytearray) -> None:
        """Decode a PDU and give it to the state machine."""
        try:
            pdu, event = self._decode_pdu(bytearray(struct.pack(">BxL", kind, len(body))) + body)
            # Here, where an error ends the association; in the state machine it would end the thread.
            pdu.to_primitive()
        except UNREADABLE as exc:
            raise Violation(Reason.PROTOCOL_ERROR, AbortReason.INVALID_PARAMETER) from exc
        self.peer_left = self.peer_left or kind == _ABORT
        self._put(pdu, event)

    def _put(self, pdu: Any, event: str) -> None:
        self.event_queue.put(event)
        self._recv_pdu.put(pdu)


class Request:
    """An A-ASSOCIATE-RQ PDU as the state machine needs it: the door judges what it says."""

    protocol_version = 1

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length

    def to_primitive(self) -> A_ASSOCIATE:
        """Return the primitive, with nothing in it but the length of what the peer takes."""
        primitive = A_ASSOCIATE()
        primitive.maximum_length_received = self._max_length
        return primitive


class _Acceptance:
    """An A-ASSOCIATE-AC PDU that returns titles and reserved bytes as they came (PS3.8 Table 9-17)."""

    def __init__(self, pdu: A_ASSOCIATE_AC, returned: bytes) -> None:
        self._pdu = pdu
        self._returned = returned

    def encode(self) -> bytes:
        """Return the PDU."""
        encoded = self._pdu.encode()
        head, body = encoded[:_HEAD_BYTES], encoded[_HEAD_BYTES:]
        return head + body[: RETURNED.start] + self._returned + body[RETURNED.stop :]


class Data:
    """A P-DATA-TF PDU as the state machine needs it; pynetdicom's own would copy the data five times."""

    def __init__(self, items: list[tuple[int, memoryview]]) -> None:
        self._items = items

    def to_primitive(self) -> P_DATA:
        """Return the primitive, its values still views of what was read."""
        primitive = P_DATA()
        primitive.presentation_data_value_list.extend(self._items)  # type: ignore[arg-type]
        return primitive


def _answers(pdu: P_DATA_TF) -> bool:
    """Whether a PDU that we send ends a response: nothing else is sent over an association that we accept."""
    return ends_command(pdu.presentation_data_value_items[0].presentation_data_value or b"")
