"""Where a DICOM file's data set begins, how it is coded, and a bounded parse of it.

pydicom parses the elements; this module only keeps what pydicom does not promise: a file that is no DICOM is told from
a bare data set, a deflated data set never inflates without bounds, and every failure is one of our own errors.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_io.elements import CONVERSION_ERRORS, valid_uid
from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.quiet import quiet_libraries

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Group 7FE0 elements that hold the picture: float, double and integer pixel data.
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED_LENGTH = 0xFFFFFFFF

#: No header needs an element this long; a longer one is a damaged length or an attack on our memory.
_MAX_VALUE_BYTES = 1 << 20
_INFLATE_STEP = 1 << 20
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"})
_PARSE_ERRORS = (*CONVERSION_ERRORS, InvalidDicomError, zlib.error)

StopWhen = Callable[[BaseTag, str | None, int], bool]


@dataclass(frozen=True, slots=True)
class Preface:
    """What stands before the data set.

    Attributes
    ----------
    offset : int
        Where the data set begins, in bytes from the start of the file.
    transfer_syntax_uid : str
        As the file meta information says, "" when it does not.
    meta : dict of int to bytes
        The elements of group 0002, undecoded.
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
        A binary file at its start; afterwards at the start of the data set.

    Returns
    -------
    Preface
        Where the data set begins and how it is coded.

    Raises
    ------
    NotDicom
        If the file has no preamble and does not begin with group 0002 or 0008 either.
    """
    has_preamble = fp.read(132)[128:] == b"DICM"
    start = 132 if has_preamble else 0
    fp.seek(start)
    meta: dict[int, bytes] = {}
    while (element := _read_meta_element(fp)) is not None:
        meta[element[0]] = element[1]
    offset = fp.tell()
    if not has_preamble and not meta and not _begins_like_data_set(fp):
        raise NotDicom
    fp.seek(offset)
    uid = meta.get(0x00020010, b"").decode("latin-1").strip(" \0")
    return Preface(offset, uid if valid_uid(uid) else "", meta, is_part10=has_preamble or bool(meta))


def parse(
    fp: BinaryIO,
    transfer_syntax_uid: str,
    *,
    stop_when: StopWhen,
    wanted: Iterable[int] | None = None,
    inflate_limit: int = 64 << 20,
) -> Dataset:
    """Parse a data set up to a stop condition.

    Parameters
    ----------
    fp : file-like
        A binary file at the start of the data set.
    transfer_syntax_uid : str
        How the data set is coded; "" to guess between the three uncompressed codings.
    stop_when : callable
        Takes tag, value representation and length of each element before its value is read; True ends the parse.
    wanted : iterable of int, optional
        The tags to keep; the others are skipped unread. All by default.
    inflate_limit : int
        The most bytes a deflated data set may inflate to; what lies behind is cut off.

    Returns
    -------
    pydicom.dataset.Dataset
        The elements before the stop, values undecoded.

    Raises
    ------
    HeaderUnreadable
        If the elements cannot be told apart, or a wanted one is absurdly long.
    """
    quiet_libraries()
    tags = frozenset(wanted) if wanted is not None else None

    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:
        if stop_when(tag, vr, length):
            return True
        if tags is not None and tag in tags and _MAX_VALUE_BYTES < length < UNDEFINED_LENGTH:
            raise HeaderUnreadable
        return False

    try:
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            fp = _inflated(fp, inflate_limit)
        is_implicit, is_little = _encoding(fp, transfer_syntax_uid)
        return read_dataset(
            fp,
            is_implicit,
            is_little,
            stop_when=stop,
            specific_tags=[BaseTag(tag) for tag in tags] if tags is not None else None,
        )
    except _PARSE_ERRORS:
        raise HeaderUnreadable from None


def uncompressed_syntax_of(fp: BinaryIO) -> str:
    """Guess the transfer syntax of an uncompressed data set from its first element; the position is kept."""
    start = fp.read(6)
    fp.seek(-len(start), io.SEEK_CUR)
    if len(start) < 6 or not start[4:6].isalpha() or not start[4:6].isupper():
        return str(ImplicitVRLittleEndian)
    # a little endian group is read as 1024 or more when its bytes are big endian
    is_little = struct.unpack_from("<H", start)[0] < 0x0400
    return str(ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian)


def _encoding(fp: BinaryIO, transfer_syntax_uid: str) -> tuple[bool, bool]:
    """Whether the data set is implicit and whether it is little endian."""
    uid = transfer_syntax_uid or uncompressed_syntax_of(fp)
    return uid == ImplicitVRLittleEndian, uid != ExplicitVRBigEndian


def _inflated(fp: BinaryIO, limit: int) -> BinaryIO:
    """The inflated data set (PS3.5 A.5: a raw deflate stream), cut off at the limit."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = io.BytesIO()
    while plain.tell() < limit and not machine.eof and (chunk := machine.unconsumed_tail or fp.read(_INFLATE_STEP)):
        plain.write(machine.decompress(chunk, _INFLATE_STEP))
    plain.seek(0)
    return plain


def _read_meta_element(fp: BinaryIO) -> tuple[int, bytes] | None:
    """The next element of group 0002, None (and the position kept) where the group ends.

    The group is Explicit VR Little Endian by the standard; a few writers made it implicit.
    """
    start = fp.tell()
    head = fp.read(8)
    if len(head) == 8 and head[:2] == b"\x02\x00":
        element, vr, length = struct.unpack("<2xH2sH", head)
        if not vr.isalpha():
            length = struct.unpack_from("<L", head, 4)[0]
        elif vr in _LONG_VRS:
            length = int.from_bytes(fp.read(4), "little")
        if length <= _MAX_VALUE_BYTES:
            return 0x00020000 | element, fp.read(length)
    fp.seek(start)
    return None


def _begins_like_data_set(fp: BinaryIO) -> bool:
    return fp.read(2) in (b"\x08\x00", b"\x00\x08")
