"""Untrusted zip archives: no path of a member is used, unpacking is bounded, and a damaged member costs only itself."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dicom_io.inbox.spool import SourceUnreadable
from dicom_io.limits import MAX_FILE_BYTES
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20
#: An archive may unpack to this many times its size, or to one film of the largest size. Films compress by 2 to 10, blank
#: ones by more; so the unpacked size stays in proportion to the bytes that somebody had to send.
MAX_RATIO = 100
#: Bit 0 of a zip member's general purpose flags (APPNOTE.TXT 4.4.4).
ENCRYPTED = 0x1
# zipfile inflates bzip2 and LZMA without a bound on the output of one read.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# First bytes of an archive. A DICOM file may end with an archive, for example in a private element.
_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
# What zipfile raises for damaged archives; RuntimeError covers unknown methods and encryption.
_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError, EOFError, OSError)


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file in an open archive; ``reason`` says why it cannot be read, None if it can."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    reason: Reason | None

    @property
    def path(self) -> PurePosixPath:
        """The path in the archive; for checks only, never used as a path on disk."""
        return PurePosixPath(self.info.filename.replace("\\", "/"))

    @property
    def name(self) -> str:
        """Archive and member, for messages."""
        return f"{self.archive.filename}!{self.info.filename}"

    def content(self, check: Callable[[bytes], None]) -> Iterator[bytes]:
        """Yield the bytes in chunks, not more than the member declares; may raise SourceUnreadable at any chunk.

        ``check`` is called with the first chunk before it is yielded, and may raise.
        """
        try:
            with self.archive.open(self.info) as stream:
                first = stream.read(CHUNK_BYTES)
                check(first)
                yield first
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
        except _ERRORS:
            raise SourceUnreadable from None


def begins_like_archive(start: bytes) -> bool:
    """Whether these are the first bytes of a zip archive."""
    return start[:4] in _STARTS


def members(path: Path) -> Iterator[ArchiveMember]:
    """Yield every file in an archive, in its order; raises SourceUnreadable if it cannot be opened."""
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
                yield ArchiveMember(archive, info, reason)


def _reason(info: zipfile.ZipInfo, left: int) -> Reason | None:
    if info.flag_bits & ENCRYPTED or info.compress_type not in _METHODS:
        return Reason.UNREADABLE
    return Reason.TOO_LARGE if info.file_size > min(left, MAX_FILE_BYTES) else None
