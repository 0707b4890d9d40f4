"""When the inbox accepts no more: its disk has too little room, or too many objects wait in it. Nothing is ever deleted."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dicom_io.durable import spool_error
from dicom_io.errors import SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicom_io.inbox.spool import Spool

#: Once below the mark, so much more than the mark must be free before objects are accepted again.
_MARGIN = 1.1


class WaterMark:
    """Says whether the disk of a folder has room for further objects.

    Parameters
    ----------
    folder : Path
        The inbox.
    min_bytes, min_inodes : int
        What must stay free for the system and for what has been accepted; 0: no mark. A file system that counts no
        inodes has no mark for them.
    """

    def __init__(self, folder: Path, min_bytes: int, min_inodes: int) -> None:
        self._folder = folder
        self._min_bytes = min_bytes
        self._min_inodes = min_inodes
        self._is_low = False

    def check(self) -> None:
        """Raise SpoolFull while less is free than the mark.

        Raises
        ------
        SpoolFull
            Below the mark, and until a tenth more than the mark is free again.
        SpoolError
            If the disk cannot be asked.
        """
        try:
            disk = os.statvfs(self._folder)
        except OSError as exc:
            raise spool_error(exc) from exc
        factor = _MARGIN if self._is_low else 1.0
        has_bytes = disk.f_bavail * disk.f_frsize >= self._min_bytes * factor
        has_inodes = not disk.f_files or disk.f_favail >= self._min_inodes * factor
        self._is_low = not (has_bytes and has_inodes)
        if self._is_low:
            raise SpoolFull


#: How long a count of the inbox holds; what comes meanwhile is added to it.
_COUNT_S = 1.0


class Backlog:
    """Says whether the inbox has room for further objects by their number: each takes memory until it is registered.

    Parameters
    ----------
    spool : Spool
        The inbox.
    most : int
        So many objects may wait. Senders that arrive in the same moment may exceed it by one object each.
    clock : callable
        Seconds of a monotonic clock.
    """

    def __init__(self, spool: Spool, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._spool = spool
        self._most = most
        self._clock = clock
        self._counted_at = float("-inf")
        self._count = 0
        self._is_full = False

    def check(self) -> None:
        """Raise SpoolFull while as many objects wait as may.

        Raises
        ------
        SpoolFull
            At the bound, and until a tenth of them is registered.
        SpoolError
            If the inbox cannot be read.
        """
        now = self._clock()
        if now - self._counted_at >= _COUNT_S:
            self._count, self._counted_at = self._spool.waiting(), now
        self._is_full = self._count >= (self._most / _MARGIN if self._is_full else self._most)
        if self._is_full:
            raise SpoolFull
        self._count += 1
