"""Zip archives opened without trust: no member's path is used, none unpacks beyond bounds, none takes the rest along."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dicom_io.limits import MAX_FILE_BYTES
from dicom_io.reasons import Reason
from dicom_io.spool import SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20
#: An archive may unpack to this many times its size, or to one film of the largest size: films shrink by 2 to 10, blank
#: ones by more; what a bomb unpacks to stays in proportion to what somebody had to send.
MAX_RATIO = 100
#: Bit 0 of a zip member's general purpose flags (APPNOTE.TXT 4.4.4).
ENCRYPTED = 0x1
# zipfile inflates bzip2 and LZMA a whole read at a time, which a bomb makes any size.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# First bytes of an archive: a DICOM file that ends with one, say as a private element, is still a DICOM file.
_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
# What zipfile raises for damaged archives; RuntimeError covers methods and encryption it does not know.
_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError, EOFError, OSError)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an open archive; where it cannot be read, ``reason`` says why."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    reason: Reason | None

    @property
    def path(self) -> PurePosixPath:
        """Where the archive says that it lies: to be looked at, never to be used as a path."""
        return PurePosixPath(self.info.filename.replace("\\", "/"))

    @property
    def name(self) -> str:
        """Archive and member, for people."""
        return f"{self.archive.filename}!{self.info.filename}"

    def content(self, look: Callable[[bytes], None]) -> Iterator[bytes]:
        """The bytes in pieces, no more than the member claims; raises SourceUnreadable at any piece.

        ``look`` is shown the first piece before it is given, and may raise what it likes.
        """
        try:
            with self.archive.open(self.info) as stream:
                first = stream.read(CHUNK_BYTES)
                look(first)
                yield first
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
        except _ERRORS:
            raise SourceUnreadable from None


def begins_like_archive(start: bytes) -> bool:
    """Whether the first bytes are those of a zip archive."""
    return start[:4] in _STARTS


def members(path: Path) -> Iterator[Member]:
    """Every file in an archive, in its order; raises SourceUnreadable when it cannot be opened."""
    try:
        archive = zipfile.ZipFile(path)
    except _ERRORS:
        raise SourceUnreadable from None
    with archive:
        left = max(MAX_FILE_BYTES, MAX_RATIO * path.stat().st_size)
        for info in archive.infolist():
            if not info.is_dir():
                reason = _reason(info, left)
                left -= 0 if reason else info.file_size
                yield Member(archive, info, reason)


def _reason(info: zipfile.ZipInfo, left: int) -> Reason | None:
    if info.flag_bits & ENCRYPTED or info.compress_type not in _METHODS:
        return Reason.UNREADABLE
    return Reason.TOO_LARGE if info.file_size > min(left, MAX_FILE_BYTES) else None
