"""An object on its way into the inbox: a temporary file that is given its name when it is whole."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dicom_io.durable import DurableFile, begin_writing, create_locked, spool_error, write_views

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


#: So many bytes are written before the disk is asked to begin with them.
_AHEAD_BYTES = 2 << 20


class Draft:
    """An object that is written in pieces; either `commit` or `discard` is called once, also after an error of `write`.

    Parameters
    ----------
    new : Path
        The object's name in the inbox; its own name is its key.
    through : Path
        The temporary name.
    stamp : callable
        Returns the object's time in ns, by which the inbox is sorted.
    hold : callable, optional
        Called with key and descriptor before the object gets its name.

    Raises
    ------
    SpoolError
        If the temporary file cannot be created; SpoolFull without space.
    """

    def __init__(
        self, new: Path, through: Path, stamp: Callable[[], int], hold: Callable[[str, int], None] | None = None
    ) -> None:
        self.key: Final = new.name
        self._new = new
        self._through = through
        self._stamp = stamp
        self._hold = hold
        #: Bytes written, and those of them that the disk was asked to write.
        self._size = self._begun = 0
        try:
            self._file = DurableFile(new, through, create_locked)
        except OSError as exc:
            raise spool_error(exc) from exc

    def write(self, parts: Sequence[bytes | memoryview | bytearray]) -> None:
        """Write the next bytes.

        Raises
        ------
        SpoolFull
            If there is no space left.
        SpoolError
            If they cannot be written for any other reason.
        """
        try:
            write_views(self._file.descriptor, parts)
        except OSError as exc:
            raise spool_error(exc) from exc
        self._size += sum(map(len, parts))
        if self._size - self._begun >= _AHEAD_BYTES:
            self._begin_writing()

    def _begin_writing(self) -> None:
        """Let the disk begin with what was written, so that the fsync at the end has less to wait for; only a hint."""
        begin_writing(self._file.descriptor, self._begun, self._size - self._begun)
        self._begun = self._size

    def read(self, offset: int) -> bytes:
        """Return what was written from `offset` on; raises SpoolError if it cannot be read."""
        try:
            with self._through.open("rb", buffering=0) as file:
                file.seek(offset)
                return file.readall()
        except OSError as exc:
            raise spool_error(exc) from exc

    def commit(self) -> None:
        """Put the object into the inbox: fsync of the file, rename, fsync of the folder.

        Raises
        ------
        SpoolFull, SpoolError
            As `write`. Nothing of the object is left.
        """
        is_safe = is_closed = False
        try:
            stamp = self._stamp()
            os.utime(self._file.descriptor, ns=(stamp, stamp))
            if self._hold:
                self._hold(self.key, self._file.descriptor)
            is_closed = True
            self._file.commit()
            is_safe = True
        except OSError as exc:
            raise spool_error(exc) from exc
        finally:
            if not is_closed:
                self._file.discard()
            if not is_safe:
                with suppress(OSError):
                    self._new.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what has been written."""
        self._file.discard()
