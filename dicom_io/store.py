"""Step 3 of the flow: where registered originals live, ``root/ab/cd/<key>.dcm``, and how to tell that they are away.

The registrar links a spool entry here, commits the rows and only then removes the spool entry. A crash anywhere
leaves the spool entry, which is registered again: no scan for orphans is needed.

A marker in the root tells a store that lost a file from one whose volume is away: an empty mount point looks like the
former. Nothing is written where it is missing, since that would lie hidden beneath the volume once it is back.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from dicom_io.durable import fsync_folder, make_folder, spool_error, write_all
from dicom_io.errors import SpoolError
from dicom_io.spool import NotAFile, SourceUnreadable, checked_key

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

#: Errors that say "no hard links here": another file system, one that has none, or one file with too many.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_CHUNK_BYTES = 1 << 20
#: The file in the root of a store, or of the films, that says: this is it, and not the mount point beneath it.
MARKER = ".auscult"


class StoreAway(SpoolError):
    """The store or the films are away: mount their volume again, or make an empty file .auscult in a new folder."""


class Store:
    """The originals, by key; it may lie on a volume shared by several machines.

    Parameters
    ----------
    root : Path
        Folder of the store. Folders are 0700, files 0600.
    known : bool
        Whether originals have been put into it before. One that is known is never made: where it is missing, it is
        away.
    may_be_lost : bool
        Whether it lies in the data folder itself and on no volume of its own. Where its root is missing then, somebody
        deleted it, and it is made again: what the senders send again must have a place.

    Raises
    ------
    SpoolError
        If the folder cannot be made.
    """

    def __init__(self, root: Path, *, known: bool = False, may_be_lost: bool = False) -> None:
        self.root = root
        self._may_be_lost = may_be_lost
        prepare_root(root, known=known)

    def check(self) -> None:
        """Raise StoreAway when the store is not there as a whole."""
        if self._may_be_lost and not os.path.lexists(self.root):
            logger.error("the store is lost, an empty one takes its place", extra={"action": "store_lost"})
            prepare_root(self.root, known=False)
        check_root(self.root)

    def path(self, key: str) -> Path:
        """Return where the original `key` lies, whether it is there or not.

        Raises
        ------
        SpoolError
            If `key` is not a key.
        """
        checked_key(key)
        return self.root / key[:2] / key[2:4] / f"{key}.dcm"

    def exists(self, key: str) -> bool:
        """Say whether the original `key` is here.

        Raises
        ------
        SpoolError
            If that cannot be told.
        """
        return is_file(self.path(key))

    def file(self, source: Path, key: str) -> None:
        """Put a spool file into the store, durably; the same key again is fine.

        Parameters
        ----------
        source : Path
            A file that is durable itself and will not change, as the spool's are. It stays where it is.
        key : str
            Its key.

        Raises
        ------
        SourceUnreadable
            If `source` is not there.
        NotAFile
            If `source` is not a file; nothing is stored.
        StoreAway
            If the store is not there.
        SpoolFull
            If there is no space left.
        SpoolError
            If it cannot be stored for any other reason.
        """
        target = self.path(key)
        _check_source(source)
        self.check()
        try:
            make_folder(target.parent.parent)
            make_folder(target.parent)
            _link_or_copy(source, target)
            # Also when the file was there: the attempt that put it there may have died before this line.
            fsync_folder(target.parent)
        except OSError as exc:
            raise spool_error(exc) from exc

    def remove(self, key: str) -> None:
        """Remove the original `key`; one that is gone already is fine.

        Raises
        ------
        SpoolError
            If it cannot be removed.
        """
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as exc:
            raise spool_error(exc) from exc


def prepare_root(root: Path, *, known: bool) -> None:
    """Make a root with its marker; one that is `known` gets the marker only where it holds something already.

    Raises
    ------
    SpoolError
        If it cannot be made. Of a known one `check_root` tells.
    """
    try:
        if (root / MARKER).exists() or (known and not _holds_something(root)):
            return
        make_folder(root)
        os.close(os.open(root / MARKER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        fsync_folder(root)
    except OSError as exc:
        if not known:
            raise spool_error(exc) from exc


def check_root(root: Path) -> None:
    """Raise StoreAway unless the root holds its marker."""
    try:
        is_here = is_file(root / MARKER)
    except SpoolError as exc:
        raise StoreAway from exc
    if not is_here:
        raise StoreAway


def is_file(path: Path) -> bool:
    """Say whether a file is there; raises SpoolError where that cannot be told, which `Path.is_file` partly hides."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise spool_error(exc) from exc


def _holds_something(root: Path) -> bool:
    """Whether a root of an earlier release, which wrote no marker, holds folders of keys."""
    try:
        with os.scandir(root) as entries:
            return any(len(entry.name) == len("ab") for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _check_source(source: Path) -> None:
    """Only a file is stored: a link leads anywhere, and the other end of a FIFO may never be opened."""
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError as exc:
        raise SourceUnreadable from exc
    except OSError as exc:
        raise spool_error(exc) from exc
    if not stat.S_ISREG(mode):
        raise NotAFile


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        return
    except FileNotFoundError as exc:
        raise SourceUnreadable from exc
    except OSError as exc:
        if exc.errno not in _NO_LINK:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy under a passing name and rename, so that `target` is whole or not there."""
    part = target.with_name(f".{uuid4().hex}.part")
    try:
        with source.open("rb") as original:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as copy:
                while chunk := original.read(_CHUNK_BYTES):
                    write_all(copy.fileno(), chunk)
                os.fsync(copy.fileno())
        part.rename(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
