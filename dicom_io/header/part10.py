"""Where the data set of a DICOM file begins, how it is encoded, and a bounded parse of it.

Memory and time are bounded for any content: unwanted values are skipped (``walker``), a deflated data set inflates up
to a limit, and every failure is one of the errors of ``dicom_io.errors``.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.header.elements import valid_uid
from dicom_io.header.inflate import Inflated
from dicom_io.header.walker import LONG_VRS, PIXEL_TAGS, UNDEFINED_LENGTH, Walker, plain_elements
from dicom_io.quiet import quiet_libraries

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

__all__ = [
    "PIXEL_TAGS",
    "UID_TAGS",
    "UNDEFINED_LENGTH",
    "Preface",
    "data_set_offset",
    "parse",
    "read_preface",
    "uncompressed_syntax_of",
]

#: No wanted value is longer; a longer one has a damaged length or is an attack on memory.
_MAX_VALUE_BYTES = 1 << 20
#: Without a list of wanted tags, longer values other than pixels are left out; sixteen of the largest LUTs are shorter.
_MAX_ANY_VALUE_BYTES = 2 << 20
_MAX_KEPT_BYTES = 64 << 20
#: File meta information: the longest value that is kept, and the most elements. The standard has 18.
_MAX_META_VALUE_BYTES = 1 << 10
_MAX_META_ELEMENTS = 1000
_INFLATE_BUFFER = 1 << 20
#: The header of most objects is shorter.
_PLAIN_BYTES = 8192
_COMMAND_GROUP, _META_GROUP = b"\0\0", b"\2\0"
_SPECIFIC_CHARACTER_SET = 0x00080005
#: SOP Class, SOP Instance, Study and Series Instance UID: the identity of an object.
UID_TAGS = frozenset({0x00080016, 0x00080018, 0x0020000D, 0x0020000E})
StopWhen = Callable[[int, str | None, int], bool]


@dataclass(frozen=True, slots=True)
class Preface:
    """What comes before the data set.

    Attributes
    ----------
    offset : int
        Where the data set begins, in bytes from the start of the file.
    transfer_syntax_uid : str
        Of the file meta information, "" when it has none.
    meta : dict of int to bytes
        The elements of group 0002, undecoded, up to 1 KiB each. Of an element that comes twice the first is kept: what
        a sender put before its data set never overrides the file meta information that was written for the file.
    is_part10 : bool
        Whether the file has the preamble of PS3.10 or at least group 0002; False for a bare data set.
    """

    offset: int
    transfer_syntax_uid: str
    meta: dict[int, bytes]
    is_part10: bool


def read_preface(fp: BinaryIO) -> Preface:
    """Read preamble and file meta information.

    Parameters
    ----------
    fp : file-like
        A binary file at its start; it is left at the start of the data set.

    Returns
    -------
    Preface
        Where the data set begins and how it is coded.

    Raises
    ------
    NotDicom
        If the file has no preamble and begins with neither group 0002 nor 0008, or if group 0002 does not end.
    """
    meta, has_preamble = _step_over_preface(fp)
    if not has_preamble and not meta and not _begins_like_data_set(fp):
        raise NotDicom
    uid = meta.get(0x00020010, b"").decode("latin-1").strip(" \0")
    return Preface(fp.tell(), uid if valid_uid(uid) else "", meta, is_part10=has_preamble or bool(meta))


def data_set_offset(data: bytes, transfer_syntax_uid: str) -> int:
    """Return where the data set of a message begins.

    Some senders put file meta information, a command set or the beginning of a file before it. None of that is part of
    a data set (PS3.5 section 7.1, PS3.10 section 7.1), and after the file meta information that Auscult writes most
    readers would take it for a part of that.

    Parameters
    ----------
    data : bytes
        The data set as received.
    transfer_syntax_uid : str
        Of the presentation context. Nothing is looked for before a deflated data set.

    Raises
    ------
    HeaderUnreadable
        If there is file meta information before it that does not end.
    """
    fp = io.BytesIO(data)
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        try:
            _step_over_preface(fp)
        except NotDicom:
            raise HeaderUnreadable from None
    offset = fp.tell()
    if data.startswith(_META_GROUP, offset):
        raise HeaderUnreadable
    return offset


def parse(
    fp: BinaryIO,
    transfer_syntax_uid: str,
    *,
    stop_when: StopWhen,
    wanted: Iterable[int] | None = None,
    inflate_limit: int = 64 << 20,
    enough: frozenset[int] | None = None,
) -> Dataset:
    """Parse a data set up to a stop condition.

    Parameters
    ----------
    fp : file-like
        A binary file at the start of the data set.
    transfer_syntax_uid : str
        The declared transfer syntax. It says only whether the data set is deflated; value representations and byte
        order are detected at the first element.
    stop_when : callable
        Called with tag, value representation and length of each element before its value is read; True ends the parse.
        At pixel data the position of `fp` is that of the value.
    wanted : iterable of int, optional
        The tags to keep; the others are skipped unread. All by default.
    inflate_limit : int
        The most bytes to inflate of a deflated data set; the rest is cut off.
    enough : frozenset of int, optional
        Tags after which damage ends the parse without an error, as the end of the file does. By default any damage is
        an error.

    Returns
    -------
    pydicom.dataset.Dataset
        The elements before the stop, with undecoded values, also of sequences. Of an element that comes twice the first
        is kept, so that all readers of the file see the same object. Values above the limits are left out.

    Raises
    ------
    HeaderUnreadable
        If the elements cannot be parsed or are too many, or if a UID of the object is longer than the limit.
    """
    quiet_libraries()
    tags = frozenset(wanted) | {_SPECIFIC_CHARACTER_SET} if wanted is not None else None
    is_inflated = transfer_syntax_uid == DeflatedExplicitVRLittleEndian and not _begins_like_data_set(fp)
    if is_inflated:
        fp = io.BufferedReader(Inflated(fp, inflate_limit), _INFLATE_BUFFER)
    kept: dict[BaseTag, DataElement | RawDataElement] = {}
    is_implicit, is_little = False, True
    try:
        is_implicit, is_little = _encoding(fp)
        is_plain = is_little and not is_implicit and not is_inflated
        if not is_plain or not _keep_plain(kept, fp, stop_when, tags):
            _keep(kept, Walker(fp, is_implicit=is_implicit, is_little=is_little), stop_when, tags)
    except (HeaderUnreadable, zlib.error, struct.error, OverflowError):
        if enough is None or not kept.keys() >= enough:
            raise HeaderUnreadable from None
    ds = Dataset(kept)
    ds.set_original_encoding(is_implicit, is_little)
    return ds


def _keep_plain(
    kept: dict[BaseTag, DataElement | RawDataElement], fp: BinaryIO, stop_when: StopWhen, tags: frozenset[int] | None
) -> bool:
    """Keep what `_keep` would of the first elements, up to one that is not plain; return whether the parse has ended."""
    start = fp.tell()
    data = fp.read(_PLAIN_BYTES)
    after = 0
    for tag, vr, begin, end in plain_elements(data):
        name = vr.decode("ascii")
        if stop_when(tag, name, end - begin):
            return True
        if tag not in kept and (tags is None or tag in tags):
            key, value = BaseTag(tag), data[begin:end]
            kept[key] = RawDataElement(key, name, end - begin, value, start + begin, False, True, is_raw=True)  # noqa: FBT003
        after = end
    fp.seek(start + after)
    return False


def _keep(
    kept: dict[BaseTag, DataElement | RawDataElement],
    walker: Walker,
    stop_when: StopWhen,
    tags: frozenset[int] | None,
) -> None:
    left = _MAX_KEPT_BYTES
    for head in walker.heads():
        if stop_when(*head):
            break
        if head.tag in kept or (tags is not None and head.tag not in tags):
            walker.skip(head)
            continue
        is_picture = head.tag in PIXEL_TAGS
        element = walker.value(head, _limit(is_picture=is_picture, is_wanted=tags is not None))
        if element is not None:
            kept[element.tag] = element
            left -= 0 if is_picture else len(element.value or b"")
        if left < 0 or (element is None and head.tag in UID_TAGS):
            raise HeaderUnreadable


def _limit(*, is_picture: bool, is_wanted: bool) -> int:
    if is_picture:
        return UNDEFINED_LENGTH
    return _MAX_VALUE_BYTES if is_wanted else _MAX_ANY_VALUE_BYTES


def uncompressed_syntax_of(fp: BinaryIO) -> str:
    """Guess the transfer syntax of an uncompressed data set from its first element; the position is kept."""
    start = fp.read(6)
    fp.seek(-len(start), io.SEEK_CUR)
    if len(start) < 6 or not start[4:6].isalpha() or not start[4:6].isupper():
        return str(ImplicitVRLittleEndian)
    # the first group number is small; in the wrong byte order it is large
    is_little = struct.unpack_from("<H", start)[0] < 0x0400 or struct.unpack_from(">H", start)[0] >= 0x0400
    return str(ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian)


def _encoding(fp: BinaryIO) -> tuple[bool, bool]:
    """Whether the data set is implicit and whether it is little endian, by its first element."""
    uid = uncompressed_syntax_of(fp)
    return uid == ImplicitVRLittleEndian, uid != ExplicitVRBigEndian


def _step_over_preface(fp: BinaryIO) -> tuple[dict[int, bytes], bool]:
    """Skip preamble and groups 0000 and 0002; return the elements of group 0002, and whether there is a preamble."""
    has_preamble = fp.read(132)[128:] == b"DICM"
    fp.seek(132 if has_preamble else 0)
    meta: dict[int, bytes] = {}
    read = 0
    while (element := _read_preface_element(fp)) is not None:
        tag, value = element
        if tag >> 16 == 2 and value is not None:
            meta.setdefault(tag, value)
        read += 1
        if read > _MAX_META_ELEMENTS:
            raise NotDicom
    return meta, has_preamble


def _read_preface_element(fp: BinaryIO) -> tuple[int, bytes | None] | None:
    """Read the next element of group 0000 or 0002, with None for a long value.

    At any other element the result is None and the position is kept. By the standard group 0002 is Explicit VR Little
    Endian and group 0000 implicit; some writers use the other form.
    """
    start = fp.tell()
    head = fp.read(8)
    if len(head) == 8 and head[:2] in (_COMMAND_GROUP, _META_GROUP):
        group, number, vr, length = struct.unpack("<HH2sH", head)
        if not vr.isalpha():
            length = struct.unpack_from("<L", head, 4)[0]
        elif vr in LONG_VRS:
            length = int.from_bytes(fp.read(4), "little")
        if length <= _MAX_META_VALUE_BYTES:
            return group << 16 | number, fp.read(length)
        if length <= _MAX_VALUE_BYTES:
            fp.seek(length, io.SEEK_CUR)
            return group << 16 | number, None
    fp.seek(start)
    return None


def _begins_like_data_set(fp: BinaryIO) -> bool:
    start = fp.read(2)
    fp.seek(-len(start), io.SEEK_CUR)
    return start in (b"\x08\x00", b"\x00\x08")
