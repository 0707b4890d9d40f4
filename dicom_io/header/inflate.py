"""A deflated data set (a raw deflate stream, PS3.5 A.5) as a file: it is inflated as it is read, and not kept."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_STEP = 1 << 20


class Inflated(io.RawIOBase):
    """A readable and seekable file; seeking backwards inflates from the start again, which counts against the limit.

    Parameters
    ----------
    fp : file-like
        A binary file at the start of the deflated data set.
    limit : int
        The most bytes to inflate, including those inflated again; the file ends after them.
    """

    def __init__(self, fp: BinaryIO, limit: int) -> None:
        super().__init__()
        self._fp = fp
        self._start = fp.tell()
        self._left = limit
        self._at = 0
        self._machine = zlib.decompressobj(-zlib.MAX_WBITS)

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: the file can seek, backwards at the cost of inflating again."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes into a buffer and return their number; raises zlib.error for a damaged stream."""
        view = memoryview(buffer)
        data = self._inflate(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, counted from the start or from here; stops at the end and returns the new position."""
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._at:
            self._fp.seek(self._start)
            self._machine = zlib.decompressobj(-zlib.MAX_WBITS)
            self._at = 0
        while self._at < target and self._inflate(min(_STEP, target - self._at)):
            pass
        return self._at

    def tell(self) -> int:
        """Return the position in the inflated data set, in bytes."""
        return self._at

    def _inflate(self, size: int) -> bytes:
        size = min(size, self._left)
        data = b""
        while size and not data and not self._machine.eof:
            chunk = self._machine.unconsumed_tail or self._fp.read(_STEP)
            if not chunk:
                break
            data = self._machine.decompress(chunk, size)
        self._at += len(data)
        self._left -= len(data)
        return data
