"""A C-STORE request whose data set is not collected in memory, and the response to it (PS3.7 sections 9.3.1.1, 9.3.1.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pynetdicom.presentation import PresentationContext

    from dicom_io.upper_layer.command_set import Command

_SOP_CLASS, _COMMAND_FIELD, _MESSAGE_ID, _ANSWERED_ID = 0x0002, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _ERROR_COMMENT, _SOP_INSTANCE = 0x0800, 0x0900, 0x0902, 0x1000
_C_STORE_RQ, _C_STORE_RSP, _NO_DATA_SET = 0x0001, 0x8001, 0x0101
_COMMAND, _LAST = 1, 2
#: Bytes of a P-DATA-TF's item before its fragment: length, context id and message control header.
_ITEM_BYTES = 6


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What the command of a C-STORE request and its presentation context say."""

    message_id: int
    sop_class_uid: str
    sop_uid: str
    context_id: int
    abstract_syntax: str
    transfer_syntax_uid: str

    @classmethod
    def of(cls, command: Command, context_id: int, context: PresentationContext) -> StoreRequest | None:
        """Return the request of a complete command set.

        None for any other message, for a request that lacks an element, and for one of another class than that of its
        context: pynetdicom answers these.
        """
        found = command.elements
        message_id, uids = found.get(_MESSAGE_ID), [_text(found, tag) for tag in (_SOP_CLASS, _SOP_INSTANCE)]
        is_store = found[_COMMAND_FIELD] == _short(_C_STORE_RQ) and command.has_data_set
        is_usual = is_store and message_id and all(uids) and _ANSWERED_ID not in found
        if not is_usual or uids[0] != context.abstract_syntax or not message_id:
            return None
        (syntax,) = context.transfer_syntax
        return cls(int.from_bytes(message_id, "little"), uids[0], uids[1], context_id, uids[0], str(syntax))

    def response(self, status: int, comment: str, max_length: int) -> list[bytes]:
        """Encode the response.

        Parameters
        ----------
        status : int
            Status (0000,0900).
        comment : str
            Error Comment (0000,0902), ASCII; left out if it is empty.
        max_length : int
            Longest value of a P-DATA-TF that the peer accepts, in bytes; 0 for any.

        Returns
        -------
        list of bytes
            The values of the P-DATA-TF PDUs, one item each.
        """
        elements = (
            (_SOP_CLASS, _padded(self.sop_class_uid, "\0")),
            (_COMMAND_FIELD, _short(_C_STORE_RSP)),
            (_ANSWERED_ID, _short(self.message_id)),
            (_DATA_SET_TYPE, _short(_NO_DATA_SET)),
            (_STATUS, _short(status)),
            *(((_ERROR_COMMENT, _padded(comment, " ")),) if comment else ()),
            (_SOP_INSTANCE, _padded(self.sop_uid, "\0")),
        )
        group = b"".join(_element(tag, value) for tag, value in elements)
        data = _element(0x0000, struct.pack("<L", len(group))) + group
        step = max_length - _ITEM_BYTES if max_length else len(data)
        starts = range(0, len(data), step)
        return [self._item(data[at : at + step], is_last=at + step >= len(data)) for at in starts]

    def _item(self, fragment: bytes, *, is_last: bool) -> bytes:
        control = _COMMAND | _LAST if is_last else _COMMAND
        return struct.pack(">LBB", len(fragment) + 2, self.context_id, control) + fragment


class Reception(Protocol):
    """The data set of a C-STORE request on its way; the listener's. No method raises."""

    def write(self, parts: Sequence[memoryview]) -> bool:
        """Take the next bytes; return whether they must stay valid until the next call of any method has ended."""

    def finish(self, *, is_too_large: bool) -> tuple[int, str]:
        """Return status and error comment of the response; with success the object is durable.

        `is_too_large`: it is larger than the limit, and not all of it was passed on.
        """

    def discard(self) -> None:
        """Drop the object: it will not arrive whole."""


def _text(found: Mapping[int, bytes], tag: int) -> str:
    return found.get(tag, b"").strip(b"\0 ").decode("latin-1")


def _short(number: int) -> bytes:
    return struct.pack("<H", number)


def _padded(text: str, pad: str) -> bytes:
    return (text + pad * (len(text) % 2)).encode("latin-1")


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value
