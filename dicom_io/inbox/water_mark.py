"""The low-water mark of the inbox's disk: below it nothing more is accepted, and nothing is ever deleted to make room."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dicom_io.durable import spool_error
from dicom_io.errors import SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

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
