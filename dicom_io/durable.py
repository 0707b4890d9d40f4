"""Writing to disk so that it stays: folders and names that survive a power cut, and errors that say what is missing."""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
from typing import TYPE_CHECKING

from dicom_io.errors import SpoolError, SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

#: What a file system answers that cannot sync a folder, or change the mode of one: CIFS, some FUSE.
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
_NO_MODES = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
#: Errors that mean "no room": device, quota, and the limit on a file's size.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def spool_error(exc: OSError) -> SpoolError:
    """Return our error for `exc`: `SpoolFull` if there is no space left, `SpoolError` otherwise."""
    return SpoolFull() if exc.errno in _FULL else SpoolError()


def make_folder(folder: Path) -> None:
    """Make `folder` with mode 0700 and, if it is new, its name durable.

    Where the file system decides about modes (CIFS, some FUSE, a mount of another owner) a warning, once per process,
    says that the mode is not ours.

    Raises
    ------
    OSError
        If the folder cannot be made.
    """
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fsync_folder(folder.parent)
    if stat.S_IMODE(folder.stat().st_mode) == 0o700:
        return
    try:
        folder.chmod(0o700)
    except OSError as exc:
        if exc.errno not in _NO_MODES:
            raise
        _warn_of_foreign_modes()


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable.

    Some file systems cannot do that for a folder (CIFS of older kernels, some FUSE): they keep names in their own
    order, and a warning, once per process, says so. Files are always synced.

    Raises
    ------
    OSError
        If the folder cannot be synced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_FOLDER_SYNC:
            raise
        _warn_of_unsynced_folders()
    finally:
        os.close(descriptor)


@functools.cache
def _warn_of_foreign_modes() -> None:
    logger.warning(
        "the mode of a folder of objects cannot be set to 0700: see to it that its mount keeps others out",
        extra={"action": "folder_mode"},
    )


@functools.cache
def _warn_of_unsynced_folders() -> None:
    logger.warning(
        "a folder of objects or films lies on a file system that cannot sync folders: after a power cut the newest "
        "files there may be missing",
        extra={"action": "folder_sync"},
    )


def write_all(descriptor: int, chunk: bytes | memoryview) -> None:
    """Write `chunk` whole; a full disk may take part of it before it says so.

    Raises
    ------
    OSError
        If it cannot be written whole.
    """
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
