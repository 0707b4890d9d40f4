"""What must hold of any bytes an association brings, without a network: nothing dies of what is passed on."""

from __future__ import annotations

import struct

from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_io.network.pynetdicom_setup import quiet_network_libraries
from dicom_io.upper_layer.associate_pdu import read_proposal, readable_acceptance
from dicom_io.upper_layer.fragments import Fragments
from dicom_io.upper_layer.negotiation import answer_to
from dicom_io.upper_layer.pdus import DataPdu
from dicom_io.upper_layer.violation import Violation
from tests.support.wire import ASSOCIATE_AC, ASSOCIATE_RQ, P_DATA

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
        if kind == ASSOCIATE_RQ and not _request(body):
            break
        if kind == P_DATA:
            try:
                taken = fragments.take(memoryview(body), CONTEXTS)
            except Violation:
                break
            # In the state machine, where an exception would end the thread.
            if message.decode_msg(DataPdu(taken.items).to_primitive()):
                assert fragments.between_messages
                assert message.data_set is None or len(message.data_set.getvalue()) <= MAX_OBJECT_BYTES + len(body)
                message, whole = DIMSEMessage(), whole + 1
    return whole


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
