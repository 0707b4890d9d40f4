"""Steps over the elements of an encoded data set, as PS3.5 chapter 7 has them, in one pass and without recursion.

pydicom's reader descends into every sequence of undefined length, keeps all it finds there and reads a value of
undefined length whole before it is asked whether anyone wants it: a header of nested or endless items costs it any
memory. Here a value that nobody wants is stepped over, however deep it nests and whatever length it claims.
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

#: Group 7FE0 elements that hold the picture: float, double and integer pixel data.
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED_LENGTH = 0xFFFFFFFF
#: Value representations with two reserved bytes and a length of 32 bits (PS3.5 Table 7.1-1).
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
#: Elements, nested ones too, that one data set may have before its pixels; the longest real headers have some 10^5.
MAX_ELEMENTS = 1_000_000

#: A film of 32 million pixels comes in one piece: putting pieces together cost a quarter of a film's time.
_READ_STEP = 64 << 20
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS = 0xFFFE


class Head(NamedTuple):
    """What stands before an element's value; the representation is None where the coding names none."""

    tag: int
    vr: str | None
    length: int


class Walker:
    """One pass over a data set.

    Parameters
    ----------
    fp : file-like
        A binary file at the data set's first element.
    is_implicit : bool
        Whether elements name no value representation. In an explicit data set one that names none is implicit; some
        writers mix them.
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
        """The elements of the top level; before the next is asked for, the value must be read or skipped.

        Raises
        ------
        HeaderUnreadable
            If there are more than ``MAX_ELEMENTS``.
        """
        while (head := self._head()) is not None:
            if head.tag >> 16 != _DELIMITERS:
                yield head

    def value(self, head: Head, limit: int) -> RawDataElement | None:
        """Read the value behind a head.

        Parameters
        ----------
        head : Head
            The last one.
        limit : int
            The most bytes to read.

        Returns
        -------
        pydicom.dataelem.RawDataElement or None
            The element, as pydicom would have read it but for its sequences, which are undecoded too; None when the
            value is longer than the limit. A value that the file's end cuts off is what there is of it.

        Raises
        ------
        HeaderUnreadable
            If a sequence does not end, or is none.
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
        """Step over the value behind the last head; raises HeaderUnreadable as ``value``."""
        if head.length == UNDEFINED_LENGTH:
            self._end_of_items(is_cut_allowed=False)
        else:
            self._fp.seek(head.length, io.SEEK_CUR)

    def _read(self, length: int) -> bytes:
        """So many bytes, or those there are: a claim of gigabytes is not believed before they come."""
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
        """Step behind the delimiter of a value of undefined length; returns where that stands.

        Sequences and items take turns, so the depth alone says where we are: odd between items, even within one.
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
        """Step over a head's value where that is no deeper level; returns by how much the depth changes."""
        if head.tag == _SEQUENCE_END:
            # within an item: nobody closed that
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
    """The representation of a value of undefined length; without a name it is a sequence (PS3.5 6.2.2, 7.5)."""
    if head.vr in (None, "UN"):
        known = dictionary_VR(head.tag) if dictionary_has_tag(head.tag) else "SQ"
        return known if head.tag in PIXEL_TAGS else "SQ" if known == "SQ" or head.vr == "UN" else known
    return str(head.vr)
