"""What must hold of any bytes an association brings, without a network: nothing dies of what is passed on."""

from __future__ import annotations

import struct

from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu import A_ASSOCIATE_RQ

from dicom_io.fragments import Fragments
from dicom_io.negotiation import contexts_for
from dicom_io.network_log import quiet_network_libraries
from dicom_io.upper_layer import UNREADABLE, Data
from dicom_io.violation import Violation
from tests.wire import ASSOCIATE_RQ, P_DATA

MAX_OBJECT_BYTES = 2000
CONTEXTS = {1, 3}


def examine(stream: bytes) -> int:
    """Read PDUs to the first that is refused; return how many messages came in whole."""
    quiet_network_libraries()
    fragments, message, whole, offset = Fragments(MAX_OBJECT_BYTES), DIMSEMessage(), 0, 0
    while len(stream) - offset >= 6:
        kind, length = struct.unpack_from(">BxL", stream, offset)
        body = stream[offset + 6 : offset + 6 + length]
        offset += 6 + length
        if kind == ASSOCIATE_RQ and not _request(stream[offset - 6 - length : offset]):
            break
        if kind == P_DATA:
            try:
                taken = fragments.take(memoryview(body), CONTEXTS)
            except Violation:
                break
            # In the state machine, where an exception would end the thread.
            if message.decode_msg(Data(taken.items).to_primitive()):
                assert fragments.between_messages
                assert message.data_set is None or len(message.data_set.getvalue()) <= MAX_OBJECT_BYTES + len(body)
                message, whole = DIMSEMessage(), whole + 1
    return whole


def _request(encoded: bytes) -> bool:
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(encoded)
        primitive = pdu.to_primitive()
    except UNREADABLE:
        return False
    # In the association's thread, where an exception would end that.
    contexts_for(primitive.presentation_context_definition_list)
    return True
