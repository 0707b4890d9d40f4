"""Durable writes: files and folders that survive a power cut, and errors that say whether the disk is full."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import logging
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from dicom_io.errors import SpoolError, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

#: Errors of file systems that cannot sync a folder, or change its mode (CIFS, some FUSE).
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
_NO_MODES = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
#: Errors that mean "no room": device, quota, and the limit on a file's size.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Most parts that one call writes; Linux takes 1024.
_MOST_PARTS = 1000
_SYNC_FILE_RANGE_WRITE = 2
#: Linux has it, and Python has no name for it.
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)


def spool_error(exc: OSError) -> SpoolError:
    """Return our error for `exc`: `SpoolFull` if there is no space left, `SpoolError` otherwise."""
    return SpoolFull() if exc.errno in _FULL else SpoolError()


def make_folder(folder: Path, *, is_synced: bool = True) -> None:
    """Make `folder` with mode 0700; its name is durable afterwards, and so are those of the parents that were missing.

    `is_synced`: False where the caller syncs the folder above it (`fsync_folder`), once for many.

    The name of a folder that is there already is synced too: whoever made it may have been killed before that.

    Where the file system decides about modes (CIFS, some FUSE, a mount of another owner) the mode stays as it is, with
    one warning per process.

    Raises
    ------
    OSError
        If the folder cannot be made.
    """
    _make_parents(folder.parent)
    is_new = not folder.is_dir()
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        if is_synced:
            fsync_folder(folder.parent)
    except PermissionError:
        # A folder that was made for us where we may not look, as a mount point.
        if is_new:
            raise
    if stat.S_IMODE(folder.stat().st_mode) == 0o700:
        return
    try:
        folder.chmod(0o700)
    except OSError as exc:
        if exc.errno not in _NO_MODES:
            raise
        _warn_of_foreign_modes()


def _make_parents(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_parents(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable.

    Some file systems cannot sync a folder (CIFS of older kernels, some FUSE); there it is left out, with one warning per
    process. Files are always synced.

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
        "the mode of a folder of objects cannot be set to 0700: make sure that its mount keeps other users out",
        extra={"action": "folder_mode"},
    )


@functools.cache
def _warn_of_unsynced_folders() -> None:
    logger.warning(
        "a folder of objects or films lies on a file system that cannot sync folders: after a power cut the newest "
        "files there may be missing",
        extra={"action": "folder_sync"},
    )


def remove_file(path: Path) -> int:
    """Remove a file for good: the folder is synced, so that a power cut does not bring the name back.

    Returns
    -------
    int
        Its size in bytes; 0 where there was none.

    Raises
    ------
    OSError
        If it cannot be removed.
    """
    try:
        size = path.lstat().st_size
        path.unlink()
        fsync_folder(path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return size


def file_size(path: Path) -> int:
    """Return the size of a file in bytes; 0 where it is missing or cannot be looked at."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def write_all(descriptor: int, chunk: bytes | memoryview) -> None:
    """Write all of `chunk`; a full disk may accept only part of it before it reports an error.

    Raises
    ------
    OSError
        If it cannot be written whole.
    """
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def create_file(path: Path) -> int:
    """Create a file with mode 0600 and return its descriptor, open for writing.

    Raises
    ------
    OSError
        If it cannot be created, or exists.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def write_views(descriptor: int, parts: Sequence[bytes | memoryview | bytearray]) -> None:
    """Write all of `parts` in order, in few calls.

    Raises
    ------
    OSError
        As `write_all`.
    """
    for start in range(0, len(parts), _MOST_PARTS):
        some = parts[start : start + _MOST_PARTS]
        written = os.writev(descriptor, some)
        for part in some:
            if written < len(part):
                write_all(descriptor, memoryview(part)[written:])
            written = max(0, written - len(part))


def begin_writing(descriptor: int, offset: int = 0, size: int = 0) -> None:
    """Let the disk begin with bytes that were written, `size` 0 for all from `offset` on; only a hint to Linux."""
    if _sync_file_range:
        _sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


class DurableFile:
    """A file that is being written: a reader sees all of it or nothing, and it survives a power cut once `commit` returns.

    The order: create `through`, write to `descriptor`, fsync, rename to `target`, close, fsync of the folder of `target`.
    After an error of `commit` nothing is left of `through`. The caller removes `target` where it must not stay: the
    error may be that of the folder's fsync.

    Parameters
    ----------
    target : Path
        The file to make or replace.
    through : Path
        The temporary name, on the same file system.
    create : callable, optional
        Creates `through` and returns its descriptor.

    Raises
    ------
    OSError
        If `through` cannot be created.
    """

    def __init__(self, target: Path, through: Path, create: Callable[[Path], int] = create_file) -> None:
        self.target: Final = target
        self._through = through
        self.descriptor: Final = create(through)

    def commit(self) -> None:
        """Make the file durable under its name; raises OSError if that fails."""
        try:
            try:
                os.fsync(self.descriptor)
                self.name()
            finally:
                os.close(self.descriptor)
            fsync_folder(self.target.parent)
        except BaseException:
            self.remove()
            raise

    def name(self) -> None:
        """Give it its name, before it is closed: closing releases a lock that `create` may have taken."""
        self._through.rename(self.target)

    def discard(self) -> None:
        """Remove what has been written."""
        os.close(self.descriptor)
        self.remove()

    def remove(self) -> None:
        """Remove the temporary name, if it is still there."""
        with suppress(OSError):
            self._through.unlink(missing_ok=True)


def commit_all(files: Sequence[DurableFile]) -> None:
    """Make files durable under their names: all are synced, then all named, then each folder is synced once.

    A file system with a journal then writes it twice for all of them, and not twice for each: the disk begins with all of
    them before the first sync, so that the journal has their places by then.

    Raises
    ------
    OSError
        If that fails. Of those without a name nothing is left.
    """
    try:
        try:
            for file in files:
                begin_writing(file.descriptor)
            for file in files:
                os.fsync(file.descriptor)
            for file in files:
                file.name()
        finally:
            for file in files:
                os.close(file.descriptor)
        for folder in dict.fromkeys(file.target.parent for file in files):
            fsync_folder(folder)
    except BaseException:
        for file in files:
            file.remove()
        raise


@contextmanager
def durable_file(target: Path, through: Path, create: Callable[[Path], int] = create_file) -> Iterator[int]:
    """Write a `DurableFile` in the body of the ``with``; an error there discards it.

    Parameters
    ----------
    target, through, create
        As `DurableFile`.

    Yields
    ------
    int
        The descriptor to write to.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    file = DurableFile(target, through, create)
    try:
        yield file.descriptor
    except BaseException:
        file.discard()
        raise
    file.commit()


def write_whole(target: Path, chunks: Iterable[bytes | memoryview], tmp: Path | None = None) -> None:
    """Make or replace a file by a `durable_file` with a random temporary name.

    Parameters
    ----------
    target : Path
        The file; its folder must exist.
    chunks : iterable of bytes-like
        The content, in order.
    tmp : Path, optional
        The folder of the temporary name, for `remove_abandoned`; by default that of `target`.

    Raises
    ------
    OSError
        If it cannot be written; it names `target`.
    """
    through = target.with_name(f".{uuid4().hex}.part") if tmp is None else tmp / uuid4().hex
    try:
        with durable_file(target, through, create_locked) as descriptor:
            for chunk in chunks:
                write_all(descriptor, chunk)
    except OSError as error:
        # The system names no file of a descriptor, and the temporary name tells a person nothing.
        if error.filename in (None, str(through), through):
            error.filename = str(target)
        raise


def move_durably(source: Path, target: Path) -> None:
    """Move an entry to another folder of its file system; after a power cut it has one of the two names, or both.

    A rename is one step on journalling file systems, and POSIX does not promise that. So the new name is made and synced
    first. Where there are no hard links, as for a folder, it is a rename.

    Raises
    ------
    OSError
        If it cannot be moved; `source` is there then.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        source.rename(target)
    fsync_folder(target.parent)
    source.unlink(missing_ok=True)
    fsync_folder(source.parent)


def create_locked(path: Path) -> int:
    """Create a file with a lock, by which `remove_abandoned` sees that its writer lives; return its descriptor.

    Raises
    ------
    OSError
        If it cannot be created.
    """
    while True:
        descriptor = create_file(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            # The file system has no locks; `remove_abandoned` removes nothing there either.
            return descriptor
        # A sweep between open and lock has removed the name: this file could never be renamed.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
