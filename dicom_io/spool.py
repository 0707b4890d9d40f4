"""Step 2 of the flow: the durable inbox. An object is acknowledged when, and only when, it lies in ``new/``.

The layout is a maildir: ``tmp/`` for what is being written, ``new/`` for what is safe and waits to be registered,
``quarantine/`` for what could not be registered. File names are random: nothing a sender says ever becomes a path.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from dicom_io.durable import fsync_folder, make_folder, spool_error, write_all
from dicom_io.errors import DicomIoError, SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_KEY = re.compile(r"[0-9a-f]{32}")
_CHUNK_BYTES = 1 << 20
_UID_PREFIX = "inbox."


class SourceUnreadable(DicomIoError):
    """The file to be taken in cannot be read; check that it exists and its permissions."""


class NotAFile(DicomIoError):
    """The entry is a folder, a link or a device and not a file."""


class Spool:
    """The inbox on the local disk; safe to use from several threads and processes at once.

    Parameters
    ----------
    root : Path
        Folder of the spool, made if it is missing. Folders are 0700, files 0600.
    holds : bool
        Whether an object that is put stays `claimed` until it is removed or set aside, so that no other process takes
        it meanwhile. It costs a descriptor for each.

    Raises
    ------
    SpoolError
        If the folders cannot be made.
    """

    def __init__(self, root: Path, *, holds: bool = False) -> None:
        self.root = root
        self._holds = holds
        self._held: dict[str, int] = {}
        self._tmp, self._new, self._quarantine = root / "tmp", root / "new", root / "quarantine"
        self._last_ns = 0
        self._clock_lock = threading.Lock()
        try:
            for folder in (root, self._tmp, self._new, self._quarantine):
                make_folder(folder)
        except OSError as exc:
            raise spool_error(exc) from exc

    def uid(self) -> str:
        """Return the spool's own identity, which it keeps for as long as its folder exists.

        It is the name of an empty file, 32 hexadecimal digits, because a full disk still takes a name.

        Raises
        ------
        SpoolError
            If it can be neither read nor made.
        """
        try:
            if not (names := self._uids()):
                (self.root / f"{_UID_PREFIX}{uuid4().hex}").touch(mode=0o600)
                fsync_folder(self.root)
                # Of two processes that make one at the same time, both take the smaller.
                names = self._uids()
        except OSError as exc:
            raise spool_error(exc) from exc
        return min(names)

    def _uids(self) -> list[str]:
        named = (path.name for path in self.root.iterdir() if path.name.startswith(_UID_PREFIX))
        return [name for name in (each.removeprefix(_UID_PREFIX) for each in named) if _KEY.fullmatch(name)]

    def put(self, chunks: Iterable[bytes | memoryview]) -> str:
        """Write an object durably and return its key.

        The order is the promise: write, fsync of the file, rename into ``new/``, fsync of that folder. Whatever goes
        wrong, nothing is left behind in ``tmp/`` or ``new/``.

        Parameters
        ----------
        chunks : iterable of bytes-like
            The content, in order.

        Returns
        -------
        str
            The key: 32 hexadecimal digits.

        Raises
        ------
        SpoolFull
            If there is no space left.
        SpoolError
            If the object cannot be written for any other reason.
        """
        try:
            key, descriptor = self._create()
        except OSError as exc:
            raise spool_error(exc) from exc
        tmp, new = self._tmp / key, self._new / key
        safe = False
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in chunks:
                    write_all(file.fileno(), chunk)
                stamp = self._next_ns()
                os.utime(file.fileno(), ns=(stamp, stamp))
                os.fsync(file.fileno())
                if self._holds:
                    # A copy of the descriptor shares its lock, and keeps it beyond the file's close.
                    self._held[key] = os.dup(file.fileno())
                # Before the file is closed and with it unlocked: a sweep would take an unlocked file for abandoned.
                tmp.rename(new)
            fsync_folder(self._new)
            safe = True
        except OSError as exc:
            raise spool_error(exc) from exc
        finally:
            if not safe:
                self._let_go(key)
                _unlink_quietly(tmp, new)
        return key

    def put_file(self, path: Path) -> str:
        """Take a file in by copying it; the file itself is never moved or changed.

        Parameters
        ----------
        path : Path
            The file to copy.

        Returns
        -------
        str
            The key, as from `put`.

        Raises
        ------
        SourceUnreadable
            If `path` cannot be read.
        SpoolFull, SpoolError
            As `put`.
        """
        return self.put(_chunks_of(path))

    def keys(self, limit: int | None = None) -> list[str]:
        """Return the keys that wait in ``new/``, oldest first, at most `limit` of them.

        Raises
        ------
        SpoolError
            If the folder cannot be read.
        """
        try:
            with os.scandir(self._new) as entries:
                aged = list(_ages(entries))
        except OSError as exc:
            raise spool_error(exc) from exc
        return [key for _, key in (sorted(aged) if limit is None else heapq.nsmallest(limit, aged))]

    def path(self, key: str) -> Path:
        """Return where the object `key` lies in ``new/``, whether it is there or not.

        Raises
        ------
        SpoolError
            If `key` is not a key.
        """
        return self._new / checked_key(key)

    def is_readable(self, key: str) -> bool:
        """Say whether the object `key` can be read to its end: whose fault it is when it cannot be put elsewhere.

        One that is gone counts as readable: somebody else has taken it.
        """
        try:
            for _ in _chunks_of(self.path(key)):
                pass
        except SourceUnreadable as exc:
            return isinstance(exc.__cause__, FileNotFoundError)
        return True

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Hold the object `key` against other processes: of several at one spool, one alone registers it.

        Parameters
        ----------
        key : str
            The key.

        Yields
        ------
        bool
            False if another process holds the object or has removed it; it must be left alone then.

        Raises
        ------
        SpoolError
            If `key` is not a key.
        """
        path = self.path(key)
        try:
            # Without waiting: the other end of a FIFO may never be opened.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            yield False
            return
        except OSError:
            # It cannot be opened, so no process can hold it; the one that reads it reports why.
            yield True
            return
        try:
            yield _lock_named(descriptor, path)
        finally:
            os.close(descriptor)

    def remove(self, key: str) -> None:
        """Remove the object `key` from ``new/``; one that is gone already is fine.

        The folder is not synced: an entry that a power cut brings back is only registered once more.

        Raises
        ------
        SpoolError
            If it cannot be removed.
        """
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as exc:
            raise spool_error(exc) from exc
        finally:
            self._let_go(key)

    def quarantine(self, key: str) -> Path:
        """Set the object `key` aside, where no one tries to register it again, and return its path there.

        Raises
        ------
        SpoolError
            If it cannot be moved.
        """
        aside = self._quarantine / checked_key(key)
        try:
            self.path(key).rename(aside)
            fsync_folder(self._quarantine)
            fsync_folder(self._new)
        except OSError as exc:
            raise spool_error(exc) from exc
        finally:
            self._let_go(key)
        return aside

    def quarantined(self) -> int:
        """Return how many objects are set aside.

        Raises
        ------
        SpoolError
            If the folder cannot be read.
        """
        try:
            return sum(1 for _ in self._quarantine.iterdir())
        except OSError as exc:
            raise spool_error(exc) from exc

    def sweep_tmp(self) -> int:
        """Remove what writers that are no more left in ``tmp/``; return how many files that were.

        A living writer, in this process or another, holds a lock on its file, so its file is left alone. So is what
        cannot be removed: it is in nobody's way.

        Raises
        ------
        SpoolError
            If the folder cannot be read.
        """
        try:
            return sum(_remove_if_abandoned(path) for path in self._tmp.iterdir())
        except OSError as exc:
            raise spool_error(exc) from exc

    def _let_go(self, key: str) -> None:
        descriptor = self._held.pop(key, None)
        if descriptor is not None:
            os.close(descriptor)

    def _create(self) -> tuple[str, int]:
        """Create a locked file in ``tmp/`` and return its key and descriptor."""
        while True:
            key = uuid4().hex
            descriptor = os.open(self._tmp / key, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A sweep that came between open and lock has removed the name: this file could never be renamed.
            if os.fstat(descriptor).st_nlink:
                return key, descriptor
            os.close(descriptor)

    def _next_ns(self) -> int:
        """Return a time that grows with every object: the kernel's own stamps tie within a tick of some milliseconds."""
        with self._clock_lock:
            self._last_ns = max(time.time_ns(), self._last_ns + 1)
            return self._last_ns


def checked_key(key: str) -> str:
    """Return `key` if it is one, so that no other text ever becomes part of a path.

    Raises
    ------
    SpoolError
        If `key` is not 32 hexadecimal digits.
    """
    if not _KEY.fullmatch(key):
        raise SpoolError("Not a key of the spool: a key is 32 hexadecimal digits.")
    return key


def _chunks_of(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as exc:
        raise SourceUnreadable from exc


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a FIFO without a writer ends at once where it would be waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _ages(entries: Iterable[os.DirEntry[str]]) -> Iterator[tuple[int, str]]:
    for entry in entries:
        if not _KEY.fullmatch(entry.name):
            continue
        try:
            yield entry.stat(follow_symlinks=False).st_mtime_ns, entry.name
        except FileNotFoundError:
            # Someone else has registered and removed it between the listing and the look at it.
            continue
        except OSError:
            # Whoever takes it up finds out; the others must not wait for that.
            yield 0, entry.name


def _lock_named(descriptor: int, path: Path) -> bool:
    """Lock a file that was opened by `path`; False if it is locked, or if it went from there before it was locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        # The file system has no locks; several processes on its spool are not kept apart.
        return True


def _remove_if_abandoned(path: Path) -> int:
    try:
        # Without waiting: the other end of a FIFO may never be opened.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    return 1


def _unlink_quietly(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
