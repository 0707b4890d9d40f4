"""Step 3 of the flow: the registered originals, ``root/ab/cd/<key>.dcm``.

The registrar links a spool entry here, commits the rows and only then removes the spool entry. After a crash at any
point the spool entry is still there and is registered again, so no scan for orphans is needed.

A marker in the root distinguishes a store that lost a file from one whose volume is not mounted (an empty mount point).
Nothing is written where the marker is missing: it would be hidden below the volume once that is mounted.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from dicom_io.abandoned import remove_abandoned
from dicom_io.durable import (
    file_size,
    fsync_folder,
    make_folder,
    remove_file,
    spool_error,
    write_whole,
)
from dicom_io.errors import SpoolError
from dicom_io.inbox.keys import checked_key
from dicom_io.inbox.spool import NotAFile, SourceUnreadable

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

#: Errors for hard links that cannot be made: another file system, one without hard links, or too many links.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_CHUNK_BYTES = 1 << 20
#: The file in the root of the store, and of the films, that distinguishes it from an empty mount point.
MARKER = ".auscult"
#: The folder in such a root that holds files which are being written.
TMP = "tmp"
#: Age in seconds at which such a file is taken for dead; the root may be shared by machines that see no lock of another.
_DEAD_AFTER_S = 3600.0


class StoreAway(SpoolError):
    """The store or the films are missing: mount their volume, or make an empty file .auscult in a new folder."""


class Store:
    """The originals, by key; it may lie on a volume shared by several machines.

    Parameters
    ----------
    root : Path
        Folder of the store. Folders are 0700, files 0600.
    known : bool
        Whether it has held originals before. A known store is not made: if it is missing, its volume is not mounted.
    may_be_lost : bool
        Whether it is in the data folder and not on a volume of its own. If its root is missing then, it was deleted, and
        it is made again, so that objects can be received again.

    Raises
    ------
    SpoolError
        If the folder cannot be made.
    """

    def __init__(self, root: Path, *, known: bool = False, may_be_lost: bool = False) -> None:
        self.root = root
        self._may_be_lost = may_be_lost
        #: Of the folders of keys, by their four digits, those whose names this process has made durable.
        self._synced = bytearray(1 << 16)
        prepare_root(root, known=known)

    def check(self) -> None:
        """Raise StoreAway when the store is not there as a whole."""
        if self._may_be_lost and not os.path.lexists(self.root):
            logger.error("the store is lost, an empty one takes its place", extra={"action": "store_lost"})
            prepare_root(self.root, known=False)
        check_root(self.root)

    def path(self, key: str) -> Path:
        """Return the path of the original `key`, whether it exists or not.

        Raises
        ------
        SpoolError
            If `key` is not a key.
        """
        checked_key(key)
        return self.root / key[:2] / key[2:4] / f"{key}.dcm"

    def exists(self, key: str) -> bool:
        """Whether the original `key` exists.

        Raises
        ------
        SpoolError
            If that cannot be determined.
        """
        return is_file(self.path(key))

    def file(self, source: Path, key: str) -> None:
        """Put a spool file into the store, durably; does nothing if the key exists.

        Parameters
        ----------
        source : Path
            A durable file that will not change, such as those of the spool. It is not moved.
        key : str
            Its key.

        Raises
        ------
        SourceUnreadable
            If `source` is missing.
        NotAFile
            If `source` is not a file; nothing is stored.
        StoreAway
            If the store is not mounted.
        SpoolFull
            If there is no space left.
        SpoolError
            If it cannot be stored for any other reason.
        """
        self.link(source, key)
        self.sync(key)

    def link(self, source: Path, key: str) -> None:
        """Put a spool file into the store as `file` does; it is durable once `sync` has returned.

        Who files several objects makes all links first: a file system that writes a journal then does so once.
        """
        target = self.path(key)
        _check_source(source)
        self.check()
        try:
            self._make_folders(target, key)
            if not _link(source, target):
                self._copy(source, target)
        except OSError as exc:
            raise spool_error(exc) from exc
        # A store that went away since it was looked at has the original nowhere, and its mount point may have it.
        self.check()
        if not is_file(target):
            raise StoreAway

    def sync(self, key: str) -> None:
        """Make the name of the original `key` durable.

        Raises
        ------
        SpoolError
            If its folder cannot be synced.
        """
        try:
            fsync_folder(self.path(key).parent)
        except OSError as exc:
            raise spool_error(exc) from exc

    def remove(self, key: str) -> None:
        """Remove the original `key`; does nothing if it is missing.

        Raises
        ------
        SpoolError
            If it cannot be removed.
        """
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as exc:
            raise spool_error(exc) from exc

    def purge(self, key: str) -> int:
        """Remove the original `key` for good.

        Returns
        -------
        int
            Its size in bytes; 0 where there was none.

        Raises
        ------
        SpoolError
            If it cannot be removed.
        """
        try:
            return remove_file(self.path(key))
        except OSError as exc:
            raise spool_error(exc) from exc

    def size(self, key: str) -> int:
        """Return the size of the original `key` in bytes; 0 where it is missing."""
        return file_size(self.path(key))

    def _make_folders(self, target: Path, key: str) -> None:
        number = int(key[:4], 16)
        if not self._synced[number] or not target.parent.is_dir():
            make_folder(target.parent.parent)
            make_folder(target.parent)
            self._synced[number] = True

    def _copy(self, source: Path, target: Path) -> None:
        with source.open("rb") as original:
            write_whole(target, iter(lambda: original.read(_CHUNK_BYTES), b""), tmp_of(self.root))


def tmp_of(root: Path) -> Path:
    """Return the folder of a root for files that are being written, made if it is missing; raises OSError."""
    folder = root / TMP
    if not folder.is_dir():
        make_folder(folder)
    return folder


def sweep_root(root: Path) -> int:
    """Remove files of a root that were being written when their process was killed; return how many."""
    with suppress(OSError):
        return remove_abandoned(root / TMP, _DEAD_AFTER_S)
    return 0


def prepare_root(root: Path, *, known: bool) -> None:
    """Make a root with its marker; a `known` root only gets the marker if it already has folders of keys.

    Raises
    ------
    SpoolError
        If it cannot be made. For a known root `check_root` reports the error.
    """
    try:
        if (root / MARKER).exists():
            # Whoever made it may have been killed before its name was durable.
            with suppress(PermissionError):
                fsync_folder(root)
            return
        if known and not _holds_something(root):
            return
        make_folder(root)
        os.close(os.open(root / MARKER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        fsync_folder(root)
    except OSError as exc:
        if not known:
            raise spool_error(exc) from exc


def check_root(root: Path) -> None:
    """Raise StoreAway unless the root has its marker."""
    try:
        is_here = is_file(root / MARKER)
    except SpoolError as exc:
        raise StoreAway from exc
    if not is_here:
        raise StoreAway


def is_file(path: Path) -> bool:
    """Whether a file exists; raises SpoolError if that cannot be determined, which `Path.is_file` partly hides."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise spool_error(exc) from exc


def _holds_something(root: Path) -> bool:
    """Whether a root has folders of keys: one of an earlier release, which wrote no marker."""
    try:
        with os.scandir(root) as entries:
            return any(len(entry.name) == len("ab") for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _check_source(source: Path) -> None:
    """Raise unless `source` is a file: a link may lead anywhere, and opening a FIFO may wait for ever."""
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError as exc:
        raise SourceUnreadable from exc
    except OSError as exc:
        raise spool_error(exc) from exc
    if not stat.S_ISREG(mode):
        raise NotAFile


def _link(source: Path, target: Path) -> bool:
    """Make a hard link; return False where the file system has none between the two."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        # The attempt that linked it may have died before the folder was synced.
        pass
    except FileNotFoundError as exc:
        raise SourceUnreadable from exc
    except OSError as exc:
        if exc.errno in _NO_LINK:
            return False
        raise
    return True
