"""Follows messages fragment by fragment while they arrive (PS3.8 annex E, PS3.7 section 6.3.1).

pynetdicom collects fragments without a bound, and some that do not fit together end its thread. Every P-DATA-TF passes
here first, as bytes: a violation ends the association, a command set is reduced to what is used, and the data of an
object over the limit are dropped, so that its request can still be answered.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from dicom_io.upper_layer.command_set import read_command
from dicom_io.upper_layer.violation import AbortReason, Violation

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from dicom_io.upper_layer.command_set import Command

#: A command set is a few hundred bytes; only N-GET's list of attributes is open-ended.
MAX_COMMAND_BYTES = 16384
#: An object over the limit is read (and dropped) up to this many times the limit, so that it can be answered; a larger
#: one ends the association.
DRAINED_LIMITS = 2

#: A P-DATA-TF up to its first fragment: type and length, then length, context and control header of the item.
_DATA_HEAD = struct.Struct(">BxLLBB")
_PDU_HEAD_BYTES, _P_DATA = 6, 0x04
#: Bits of the message control header (PS3.8 annex E.2).
COMMAND, LAST = 1, 2


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of one P-DATA-TF PDU."""

    #: The presentation data values to pass on, as context id and value with its control header: views of the PDU, or
    #: empty values for an object over the limit.
    items: list[tuple[int, memoryview]]
    #: Whether a request is now complete and must be answered.
    request: bool


@dataclass(slots=True)
class Fragments:
    """The message that an association is receiving.

    Parameters
    ----------
    max_object_bytes : int
        Largest data set that is collected, in bytes.
    """

    max_object_bytes: int
    #: Bytes of the data set so far, including dropped ones.
    data_bytes: int = 0
    #: Whether the current object is over the limit, so that its collected data can be dropped.
    overrun: bool = False
    #: The last complete command set.
    command: Command | None = None
    _command: bytearray = field(default_factory=bytearray)
    _in_data: bool = False
    _is_request: bool = False
    _usable: bytes = b""

    @property
    def between_messages(self) -> bool:
        """Whether every message that has begun has ended."""
        return not self._command and not self._in_data

    def take(self, body: memoryview, contexts: Container[int]) -> Taken:
        """Check and count the body of a P-DATA-TF PDU.

        Parameters
        ----------
        body : memoryview
            The bytes after the PDU's length.
        contexts : container of int
            Ids of the accepted presentation contexts.

        Returns
        -------
        Taken
            The items to pass on.

        Raises
        ------
        Violation
            If the items do not fit the PDU or one another, or the object is larger than `DRAINED_LIMITS` allows.
        """
        ended, items = False, []
        for context_id, value in _items(body):
            if context_id not in contexts or ended:
                raise _broken()
            ended = self._take_one(value[0], value[1:])
            items.append((context_id, self._passed_on(value)))
        if not items:
            raise _broken()
        if self.overrun:
            items = [(context_id, value if value[0] & COMMAND else value[:1]) for context_id, value in items]
        return Taken(items, ended and self._is_request)

    def take_data(self, buffered: memoryview, context_id: int, longest: int) -> tuple[list[memoryview], int]:
        """Take the PDUs at the beginning of `buffered` that are whole and hold nothing but one fragment of the data set.

        This is `take` for the usual case, many PDUs at a time. Any other PDU, the first that would exceed a limit
        included, is left to `take`.

        Parameters
        ----------
        buffered : memoryview
            What has arrived, from the beginning of a PDU.
        context_id : int
            The presentation context of the message.
        longest : int
            Largest length of a PDU.

        Returns
        -------
        tuple of list and int
            The fragments, as views, and the number of bytes of their PDUs.
        """
        parts: list[memoryview] = []
        begin, size = 0, len(buffered)
        while self._in_data and size - begin >= _DATA_HEAD.size:
            kind, length, item_length, context, control = _DATA_HEAD.unpack_from(buffered, begin)
            end = begin + _PDU_HEAD_BYTES + length
            is_plain = kind == _P_DATA and item_length == length - 4 and context == context_id and not control & COMMAND
            if not is_plain or end > size or length > longest or item_length < 2:
                break
            fragment = buffered[begin + _DATA_HEAD.size : end]
            if self.data_bytes + len(fragment) > self.max_object_bytes:
                break
            self.data_bytes += len(fragment)
            self._in_data = not control & LAST
            parts.append(fragment)
            begin = end
        return parts, begin

    def _take_one(self, control: int, fragment: memoryview) -> bool:
        """Count a fragment; return whether it ends the message."""
        if control & COMMAND:
            return self._take_command(fragment, last=bool(control & LAST))
        if not self._in_data:
            raise _broken(AbortReason.UNEXPECTED_PARAMETER)
        self.data_bytes += len(fragment)
        self.overrun = self.data_bytes > self.max_object_bytes
        if self.data_bytes > DRAINED_LIMITS * self.max_object_bytes:
            raise Violation(Reason.OBJECT_TOO_LARGE)
        self._in_data = not control & LAST
        return not self._in_data

    def _take_command(self, fragment: memoryview, *, last: bool) -> bool:
        if self._in_data:
            raise _broken(AbortReason.UNEXPECTED_PARAMETER)
        self._command += fragment
        if len(self._command) > MAX_COMMAND_BYTES:
            raise _broken()
        if not last:
            return False
        command = self.command = read_command(bytes(self._command))
        self._command.clear()
        self.data_bytes, self.overrun = 0, False
        self._is_request, self._in_data = command.is_request, command.has_data_set
        self._usable = command.encoded
        return not self._in_data

    def _passed_on(self, value: memoryview) -> memoryview:
        """Return an item as it is passed on; a command set is reduced and passed on with its last fragment."""
        control = value[0]
        if not control & COMMAND:
            return value
        return memoryview(bytes((control,)) + (self._usable if control & LAST else b""))


def ends_command(item: memoryview | bytes) -> bool:
    """Whether a presentation data value, control header included, is the last one of a command set."""
    return bool(item) and item[0] & (COMMAND | LAST) == COMMAND | LAST


def _items(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield context id and value (message control header and fragment) of each presentation data value item."""
    offset = 0
    while offset < len(body):
        if len(body) - offset < 6:
            raise _broken()
        (length,) = struct.unpack_from(">L", body, offset)
        end = offset + 4 + length
        if length < 2 or end > len(body):
            raise _broken()
        yield body[offset + 4], body[offset + 5 : end]
        offset = end


def _broken(abort: AbortReason = AbortReason.INVALID_PARAMETER) -> Violation:
    return Violation(Reason.PROTOCOL_ERROR, abort)
