"""What must hold of any bytes an association brings, without a network: nothing dies of what is passed on."""

from __future__ import annotations

import struct
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

from pynetdicom import build_context
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_io.network.pynetdicom_setup import quiet_network_libraries
from dicom_io.upper_layer.associate_pdu import read_proposal, readable_acceptance
from dicom_io.upper_layer.fragments import Fragments
from dicom_io.upper_layer.negotiation import answer_to
from dicom_io.upper_layer.object_stream import ObjectStream
from dicom_io.upper_layer.pdus import DataPdu, ResponsePdu, ends_response
from dicom_io.upper_layer.violation import Violation
from tests.support.objects import CR, EXPLICIT_LE
from tests.support.wire import ASSOCIATE_AC, ASSOCIATE_RQ, ECHO_CONTEXT, P_DATA, STORE_CONTEXT, VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicom_io.upper_layer.store_request import Reception, StoreRequest

MAX_OBJECT_BYTES = 2000
ACCEPTED = {STORE_CONTEXT: build_context(CR, EXPLICIT_LE), ECHO_CONTEXT: build_context(VERIFICATION)}
CONTEXTS = frozenset(ACCEPTED)


def examine(stream: bytes) -> int:
    """Read PDUs to the first that is refused; return how many messages came in whole.

    They are read twice: by pynetdicom, and with objects streamed past it, which must find the same.
    """
    quiet_network_libraries()
    offset = 0
    while len(stream) - offset >= 6:
        kind, length = struct.unpack_from(">BxL", stream, offset)
        if kind == ASSOCIATE_RQ and not _request(stream[offset + 6 : offset + 6 + length]):
            stream = stream[:offset]
        offset += 6 + length
    collected, streamed = Reader(), StreamingReader()
    collected.read(stream)
    streamed.read(stream)
    # Data in another context than their command end a streamed object alone.
    count = len(streamed.messages) if streamed.is_refused else len(collected.messages)
    assert streamed.messages == collected.messages[:count]
    return len(collected.messages)


class Reader:
    """Reads P-DATA-TF PDUs as the provider does with a message that pynetdicom collects."""

    def __init__(self) -> None:
        self.fragments = Fragments(MAX_OBJECT_BYTES)
        #: The data set of each message that came in whole; None for one that is too large.
        self.messages: list[bytes | None] = []
        self.is_refused = False
        self._message = DIMSEMessage()

    def read(self, stream: bytes) -> None:
        """Read PDUs to the first that is refused."""
        offset = 0
        with suppress(Violation):
            while len(stream) - offset >= 6:
                offset += self.take(memoryview(stream)[offset:])

    def take(self, stream: memoryview) -> int:
        """Take the next PDU; return its length."""
        kind, length = struct.unpack_from(">BxL", stream)
        if kind == P_DATA:
            taken = self.fragments.take(stream[6 : 6 + length], CONTEXTS)
            self.collect(taken.items)
        return int(6 + length)

    def collect(self, items: list[tuple[int, memoryview]]) -> None:
        """Give items to pynetdicom: in the state machine, where an exception would end the thread."""
        if not self._message.decode_msg(DataPdu(items).to_primitive()):
            return
        assert self.fragments.between_messages
        data = self._message.data_set.getvalue() if self._message.data_set else b""
        assert len(data) <= MAX_OBJECT_BYTES
        self.end(data)
        self._message = DIMSEMessage()

    def end(self, data: bytes) -> None:
        """Keep the data set of a message."""
        self.messages.append(None if self.fragments.overrun else data)


class StreamingReader(Reader):
    """Reads P-DATA-TF PDUs as the provider does with an object that is streamed."""

    def __init__(self) -> None:
        super().__init__()
        bounds, proposal = SimpleNamespace(watcher=self), SimpleNamespace(max_length=16384)
        self._stream = ObjectStream(SimpleNamespace(bounds=bounds, proposal=proposal))  # type: ignore[arg-type]
        self._data = bytearray()

    def on_object(self, _association: object, _request: StoreRequest) -> Reception:
        """Take an object (`Watcher`)."""
        self._data.clear()
        return self

    def write(self, parts: Sequence[memoryview]) -> bool:
        """Take its data (`Reception`)."""
        self._data += b"".join(parts)
        return False

    def finish(self, *, is_too_large: bool) -> tuple[int, str]:
        """End it (`Reception`)."""
        self.messages.append(None if is_too_large else bytes(self._data))
        return 0, ""

    def discard(self) -> None:
        """Drop it (`Reception`)."""
        self._data.clear()

    def take(self, stream: memoryview) -> int:
        """Take the next PDUs, of an object as many as there are; return their length."""
        parts, size = self.fragments.take_data(stream, self._stream.context_id, len(stream))
        if not self._stream.is_open or not size:
            size = super().take(stream)
        else:
            self._stream.extend(parts)
        self._stream.flush()
        if self._stream.is_open and self.fragments.between_messages:
            assert ends_response(ResponsePdu(self._stream.finish(is_too_large=self.fragments.overrun)[-1]))
        return size

    def collect(self, items: list[tuple[int, memoryview]]) -> None:
        """Take items of an object, give the others to pynetdicom."""
        try:
            others = self._stream.take(items, self.fragments.command, ACCEPTED)
        except Violation:
            self.is_refused = True
            raise
        if self.fragments.overrun:
            self._stream.shed()
        if others:
            super().collect(others)


def _request(body: bytes) -> bool:
    try:
        proposal = read_proposal(body)
    except Violation:
        return False
    answers = answer_to(proposal.contexts)
    assert len(answers) <= 256
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.presentation_context_definition_results_list = answers
    # As the state machine encodes it, where an exception would end the thread.
    acceptance = A_ASSOCIATE_AC(primitive).encode()
    _read_acceptance(acceptance[6:])
    _read_acceptance(body)
    return True


def _read_acceptance(body: bytes) -> None:
    """What `readable_acceptance` returns, pynetdicom can read, whatever came."""
    try:
        known = readable_acceptance(body)
    except Violation:
        return
    pdu = A_ASSOCIATE_AC()
    pdu.decode(struct.pack(">BxL", ASSOCIATE_AC, len(known)) + known)
    pdu.to_primitive()
