"""A walk over the elements of an encoded data set (PS3.5 chapter 7), in one pass and without recursion.

pydicom's reader descends into every sequence of undefined length, keeps all of its items, and reads a value of
undefined length whole before it asks whether the value is wanted. A header of nested or endless items can take any
amount of memory there. This walk skips an unwanted value at any depth and of any claimed length.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from dicom_io.errors import HeaderUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The elements of group 7FE0 that hold pixels: float, double and integer pixel data.
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED_LENGTH = 0xFFFFFFFF
#: Value representations with two reserved bytes and a length of 32 bits (PS3.5 Table 7.1-1).
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
#: Those with a length of 16 bits (PS3.5 Table 7.1-2).
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
#: The most elements, with nested ones, before the pixels of a data set; the longest real headers have about 10^5.
MAX_ELEMENTS = 1_000_000

#: Large enough to read 32 million pixels in one piece: joining pieces took a quarter of the time of a film.
_READ_STEP = 64 << 20
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS = 0xFFFE
# A long representation has two reserved bytes where this one reads a length.
_PLAIN_HEAD, _PLAIN_LENGTH = struct.Struct("<HH2sH"), struct.Struct("<L")


class Head(NamedTuple):
    """What comes before the value of an element; the representation is None in an implicit encoding."""

    tag: int
    vr: str | None
    length: int


def plain_elements(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Iterate over the elements at the beginning of a data set in Explicit VR Little Endian, in a third of a walk's time.

    It ends before the first element that is not plain: without a known representation or a length, with pixels, or not
    whole in these bytes. `Walker` reads on from there, and finds the same.

    Parameters
    ----------
    data : bytes
        The first bytes of the data set.

    Yields
    ------
    tuple of int, bytes, int and int
        Tag and representation, and where the value begins and ends.
    """
    at, size = 0, len(data)
    last = size - _PLAIN_HEAD.size - _PLAIN_LENGTH.size
    while at <= last:
        group, element, vr, length = _PLAIN_HEAD.unpack_from(data, at)
        tag, begin = group << 16 | element, at + _PLAIN_HEAD.size
        if vr in LONG_VRS:
            (length,) = _PLAIN_LENGTH.unpack_from(data, begin)
            begin += _PLAIN_LENGTH.size
        elif vr not in SHORT_VRS:
            return
        at = begin + length
        if at > size or group == _DELIMITERS or tag in PIXEL_TAGS:
            return
        yield tag, vr, begin, at


class Walker:
    """One pass over a data set.

    Parameters
    ----------
    fp : file-like
        A binary file at the data set's first element.
    is_implicit : bool
        Whether elements have no value representation. In an explicit data set an element without one is read as
        implicit, because some writers mix both.
    is_little : bool
        The byte order.
    """

    def __init__(self, fp: BinaryIO, *, is_implicit: bool, is_little: bool) -> None:
        self._fp = fp
        self._is_implicit = is_implicit
        self._is_little = is_little
        self._explicit_head = struct.Struct("<HH2sH" if is_little else ">HH2sH")
        self._length = struct.Struct("<L" if is_little else ">L")
        self._left = MAX_ELEMENTS

    def heads(self) -> Iterator[Head]:
        """Iterate over the elements of the top level; read or skip each value before asking for the next head.

        Raises
        ------
        HeaderUnreadable
            If there are more than ``MAX_ELEMENTS``.
        """
        while (head := self._head()) is not None:
            if head.tag >> 16 != _DELIMITERS:
                yield head

    def value(self, head: Head, limit: int) -> RawDataElement | None:
        """Read the value that follows a head.

        Parameters
        ----------
        head : Head
            The last head of ``heads``.
        limit : int
            The most bytes to read.

        Returns
        -------
        pydicom.dataelem.RawDataElement or None
            The element as pydicom reads it, but with sequences undecoded too; None when the value is longer than the
            limit. A value that the end of the file cuts off is returned as far as it goes.

        Raises
        ------
        HeaderUnreadable
            If a sequence does not end, or is malformed.
        """
        start, length, vr = self._fp.tell(), head.length, head.vr
        if length == UNDEFINED_LENGTH:
            vr = _vr_of_items(head)
            length = self._end_of_items(is_cut_allowed=head.tag in PIXEL_TAGS) - start
            end = self._fp.tell()
            self._fp.seek(start)
        else:
            end = start + length
        if length > limit:
            self._fp.seek(end)
            return None
        data = self._read(length)
        self._fp.seek(end)
        return RawDataElement(
            BaseTag(head.tag), vr, head.length, data, start, self._is_implicit, self._is_little, is_raw=True
        )

    def skip(self, head: Head) -> None:
        """Skip the value that follows the last head; raises HeaderUnreadable as ``value`` does."""
        if head.length == UNDEFINED_LENGTH:
            self._end_of_items(is_cut_allowed=False)
        else:
            self._fp.seek(head.length, io.SEEK_CUR)

    def _read(self, length: int) -> bytes:
        """Read up to ``length`` bytes, in steps: memory is taken only for bytes that the file really has."""
        if length <= _READ_STEP:
            return self._fp.read(length)
        data = io.BytesIO()
        while length and (chunk := self._fp.read(min(length, _READ_STEP))):
            data.write(chunk)
            length -= len(chunk)
        return data.getvalue()

    def _head(self) -> Head | None:
        data = self._fp.read(8)
        if len(data) < 8:
            return None
        self._left -= 1
        if self._left < 0:
            raise HeaderUnreadable
        group, element, vr, length = self._explicit_head.unpack(data)
        tag = group << 16 | element
        if self._is_implicit or group == _DELIMITERS or not (vr.isalpha() and vr.isupper()):
            return Head(tag, None, self._length.unpack_from(data, 4)[0])
        if vr in LONG_VRS:
            more = self._fp.read(4)
            if len(more) < 4:
                return None
            length = self._length.unpack(more)[0]
        return Head(tag, vr.decode("ascii"), length)

    def _end_of_items(self, *, is_cut_allowed: bool) -> int:
        """Move to the end of a value of undefined length; returns the position of its delimiter.

        Sequences and items alternate, so the depth alone gives the place: odd between items, even within an item.
        """
        depth = 1
        while True:
            at = self._fp.tell()
            head = self._head()
            if head is None:
                if is_cut_allowed:
                    return at
                raise HeaderUnreadable
            depth += self._step(head, is_between_items=depth % 2 == 1)
            if depth <= 0:
                return at

    def _step(self, head: Head, *, is_between_items: bool) -> int:
        """Skip the value of a head unless it opens a deeper level; returns the change of the depth."""
        if head.tag == _SEQUENCE_END:
            # within an item that was not closed
            return -1 if is_between_items else -2
        if is_between_items and head.tag != _ITEM:
            raise HeaderUnreadable
        if head.tag == _ITEM_END:
            return -1
        if head.length == UNDEFINED_LENGTH:
            return 1
        self._fp.seek(head.length, io.SEEK_CUR)
        return 0


def _vr_of_items(head: Head) -> str:
    """The representation of a value of undefined length; without one it is a sequence (PS3.5 6.2.2, 7.5)."""
    if head.vr in (None, "UN"):
        known = dictionary_VR(head.tag) if dictionary_has_tag(head.tag) else "SQ"
        return known if head.tag in PIXEL_TAGS else "SQ" if known == "SQ" or head.vr == "UN" else known
    return str(head.vr)
