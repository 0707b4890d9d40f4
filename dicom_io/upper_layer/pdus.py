"""The PDUs that pynetdicom's state machine is given, and those that it sends, in the form that costs the least."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA

from dicom_io.upper_layer.associate_pdu import RETURNED
from dicom_io.upper_layer.fragments import ends_command

if TYPE_CHECKING:
    from pynetdicom.pdu import A_ASSOCIATE_AC

_P_DATA_TYPE = 0x04
#: Type and length of a PDU.
_HEAD_BYTES = 6
#: Length and context id of a presentation data value item.
_ITEM_HEAD_BYTES = 5


class RequestPdu:
    """An A-ASSOCIATE-RQ PDU as the state machine needs it; the listener's door checks its content."""

    protocol_version = 1

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length

    def to_primitive(self) -> A_ASSOCIATE:
        """Return the primitive, which only holds the length that the peer accepts."""
        primitive = A_ASSOCIATE()
        primitive.maximum_length_received = self._max_length
        return primitive


class AcceptancePdu:
    """An A-ASSOCIATE-AC PDU that returns titles and reserved bytes unchanged (PS3.8 Table 9-17).

    pynetdicom encodes the rest of it, except the presentation contexts.
    """

    def __init__(self, pdu: A_ASSOCIATE_AC, returned: bytes, contexts: bytes) -> None:
        self._pdu = pdu
        self._returned = returned
        self._answers = contexts

    def encode(self) -> bytes:
        """Return the bytes of the PDU."""
        encoded = self._pdu.encode()
        head, body = encoded[:_HEAD_BYTES], encoded[_HEAD_BYTES:]
        # The application context comes first.
        begin = RETURNED.stop + 4 + int.from_bytes(body[RETURNED.stop + 2 : RETURNED.stop + 4])
        body = body[: RETURNED.start] + self._returned + body[RETURNED.stop : begin] + self._answers + body[begin:]
        return head[:2] + struct.pack(">L", len(body)) + body


class ResponsePdu(P_DATA_TF):
    """A P-DATA-TF PDU of a response, which is encoded already."""

    def __init__(self, value: bytes) -> None:
        super().__init__()
        self._value = value

    @property
    def ends_response(self) -> bool:
        """Whether it is the last one of the response."""
        return ends_command(self._value[_ITEM_HEAD_BYTES:])

    def encode(self) -> bytes:
        """Return the bytes of the PDU."""
        return struct.pack(">BxL", _P_DATA_TYPE, len(self._value)) + self._value


class DataPdu:
    """A P-DATA-TF PDU as the state machine needs it; pynetdicom's own would copy the data five times."""

    def __init__(self, items: list[tuple[int, memoryview]]) -> None:
        self._items = items

    def to_primitive(self) -> P_DATA:
        """Return the primitive; its values are views of the bytes that were read."""
        primitive = P_DATA()
        primitive.presentation_data_value_list.extend(self._items)  # type: ignore[arg-type]
        return primitive


def ends_response(pdu: P_DATA_TF) -> bool:
    """Whether a PDU that we send ends a response; we send nothing else over an association that we accept."""
    if isinstance(pdu, ResponsePdu):
        return pdu.ends_response
    return ends_command(pdu.presentation_data_value_items[0].presentation_data_value or b"")
