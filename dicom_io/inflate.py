"""A deflated data set (PS3.5 A.5: a raw deflate stream) as a file that is inflated as far as it is read, and not kept."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_STEP = 1 << 20


class Inflated(io.RawIOBase):
    """Reads on; stepping back begins again, which counts as work.

    Parameters
    ----------
    fp : file-like
        A binary file at the start of the deflated data set.
    limit : int
        The most bytes to inflate, those inflated again included; behind them the file ends.
    """

    def __init__(self, fp: BinaryIO, limit: int) -> None:
        super().__init__()
        self._fp = fp
        self._start = fp.tell()
        self._left = limit
        self._at = 0
        self._machine = zlib.decompressobj(-zlib.MAX_WBITS)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, at a price."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer as far as the next bytes go; raises zlib.error where the stream is damaged."""
        view = memoryview(buffer)
        data = self._inflate(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Step to a position counted from the start or from here, or as far as there is anything."""
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._at:
            self._fp.seek(self._start)
            self._machine = zlib.decompressobj(-zlib.MAX_WBITS)
            self._at = 0
        while self._at < target and self._inflate(min(_STEP, target - self._at)):
            pass
        return self._at

    def tell(self) -> int:
        """The position."""
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
