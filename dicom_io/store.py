"""Step 3 of the flow: where registered originals live, ``root/ab/cd/<key>.dcm``.

The registrar links a spool entry here, commits the rows and only then removes the spool entry. A crash anywhere
leaves the spool entry, which is registered again: no scan for orphans is needed.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from dicom_io.spool import SourceUnreadable, checked_key, fsync_folder, make_folder, spool_error, write_all

if TYPE_CHECKING:
    from pathlib import Path

#: Errors that say "no hard links here": another file system, one that has none, or one file with too many.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_CHUNK_BYTES = 1 << 20


class Store:
    """The originals, by key; it may lie on a volume shared by several machines.

    Parameters
    ----------
    root : Path
        Folder of the store, made if it is missing. Folders are 0700, files 0600.

    Raises
    ------
    SpoolError
        If the folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            make_folder(root)
        except OSError as exc:
            raise spool_error(exc) from exc

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
        """Say whether the original `key` is here."""
        return self.path(key).is_file()

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
        SpoolFull
            If there is no space left.
        SpoolError
            If it cannot be stored for any other reason.
        """
        target = self.path(key)
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
