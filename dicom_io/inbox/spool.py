"""Step 2 of the flow: the durable inbox. An object is acknowledged if, and only if, it is in ``new/``.

The layout is a maildir: ``tmp/`` for objects that are being written, ``new/`` for durable objects that wait to be
registered, ``quarantine/`` for objects that could not be registered (`dicom_io.inbox.quarantine`). File names are random:
no value of a sender becomes a path.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from dicom_io.abandoned import remove_abandoned
from dicom_io.durable import fsync_folder, make_folder, spool_error
from dicom_io.errors import DicomIoError
from dicom_io.inbox.draft import Draft
from dicom_io.inbox.keys import KEY, Keys, checked_key
from dicom_io.inbox.quarantine import NOTES, Note, Quarantine
from dicom_io.inbox.receipts import Receipts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CHUNK_BYTES = 1 << 20
_UID_PREFIX = "inbox."


class SourceUnreadable(DicomIoError):
    """The file cannot be read; check that it exists, and its permissions."""


class NotAFile(DicomIoError):
    """The entry is a folder, a link or a device, not a file."""


class Spool:
    """The inbox on the local disk; safe to use from several threads and processes at once.

    Parameters
    ----------
    root : Path
        Folder of the spool, made if it is missing. Folders are 0700, files 0600.
    holds : bool
        Whether an object that is put stays `claimed` until it is removed or quarantined, so that no other process takes
        it. Each such object costs a file descriptor.

    Raises
    ------
    SpoolError
        If the folders cannot be made.
    """

    def __init__(self, root: Path, *, holds: bool = False) -> None:
        self.root = root
        #: The digests of what this process has received.
        self.receipts: Final = Receipts()
        self._holds = holds
        self._held: dict[str, int] = {}
        self._tmp, self._new, self._quarantine = root / "tmp", root / "new", root / "quarantine"
        self._keys = Keys()
        self._last_ns = 0
        self._clock_lock = threading.Lock()
        try:
            for folder in (root, self._tmp, self._new, self._quarantine, root / NOTES):
                make_folder(folder)
        except OSError as exc:
            raise spool_error(exc) from exc

    def uid(self) -> str:
        """Return the identity of the spool, which it keeps as long as its folder exists.

        It is in the name of an empty file, 32 hexadecimal digits, because a full disk still accepts a name.

        Raises
        ------
        SpoolError
            If it can be neither read nor created.
        """
        try:
            if not (names := self._uids()):
                (self.root / f"{_UID_PREFIX}{uuid4().hex}").touch(mode=0o600)
                # Two processes may create one at the same time; both use the smaller.
                names = self._uids()
            # Also where it is there already: whoever made it may have been killed before that.
            fsync_folder(self.root)
        except OSError as exc:
            raise spool_error(exc) from exc
        return min(names)

    def _uids(self) -> list[str]:
        named = (path.name for path in self.root.iterdir() if path.name.startswith(_UID_PREFIX))
        return [name for name in (each.removeprefix(_UID_PREFIX) for each in named) if KEY.fullmatch(name)]

    def put(self, chunks: Iterable[bytes | memoryview]) -> str:
        """Write an object durably and return its key.

        The order guarantees it: write, fsync of the file, rename into ``new/``, fsync of that folder. After an error
        nothing is left behind in ``tmp/`` or ``new/``.

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
        draft = self.begin()
        try:
            for chunk in chunks:
                draft.write((chunk,))
        except BaseException:
            draft.discard()
            raise
        self.commit(draft)
        return draft.key

    def begin(self) -> Draft:
        """Begin an object that comes in pieces; it is in the inbox once `commit` returns.

        Raises
        ------
        SpoolFull, SpoolError
            As `put`.
        """
        key = self._keys.new()
        return Draft(self._new / key, self._tmp / key, self._next_ns, self._hold if self._holds else None)

    def commit(self, draft: Draft) -> None:
        """Make an object durable; raises as `put`, and then nothing of it is left."""
        try:
            draft.commit()
        except BaseException:
            self._let_go(draft.key)
            raise

    def put_file(self, path: Path) -> str:
        """Copy a file into the spool; the file itself is not moved or changed.

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

    def waiting(self) -> int:
        """Return how many objects are in ``new/``.

        Raises
        ------
        SpoolError
            If the folder cannot be read.
        """
        try:
            return sum(1 for _ in self._new.iterdir())
        except OSError as exc:
            raise spool_error(exc) from exc

    def path(self, key: str) -> Path:
        """Return the path of the object `key` in ``new/``, whether it exists or not.

        Raises
        ------
        SpoolError
            If `key` is not a key.
        """
        return self._new / checked_key(key)

    def is_readable(self, key: str) -> bool:
        """Whether the object `key` can be read to its end; if so, a failed copy is not the fault of the object.

        A missing object counts as readable: another process has taken it.
        """
        try:
            for _ in _chunks_of(self.path(key)):
                pass
        except SourceUnreadable as exc:
            return isinstance(exc.__cause__, FileNotFoundError)
        return True

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Lock the object `key` against other processes, so that only one of several at one spool registers it.

        Parameters
        ----------
        key : str
            The key.

        Yields
        ------
        bool
            False if another process holds the object or has removed it; then it must be left alone.

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
            # It cannot be opened, so no process can hold it; reading it reports why.
            yield True
            return
        try:
            yield _lock_named(descriptor, path)
        finally:
            os.close(descriptor)

    def remove(self, key: str) -> None:
        """Remove the object `key` from ``new/``; does nothing if it is missing.

        The folder is not synced: an object that reappears after a power cut is only registered again.

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

    @property
    def set_aside(self) -> Quarantine:
        """The objects in ``quarantine/``."""
        return Quarantine(self.root)

    def quarantine(self, key: str, note: Note | None = None) -> Path:
        """Move the object `key` to ``quarantine/``, where it is not registered again, and return its path there.

        Parameters
        ----------
        key : str
            The key.
        note : Note, optional
            Why; kept beside the object as long as it is there.

        Raises
        ------
        SpoolError
            If it cannot be moved.
        """
        checked_key(key)
        try:
            return self.set_aside.take(key, note)
        except OSError as exc:
            raise spool_error(exc) from exc
        finally:
            self._let_go(key)

    def quarantined(self) -> int:
        """Return how many objects are in ``quarantine/``.

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
        """Remove the files that ended writers left in ``tmp/``, and notes without an object; return how many files.

        Raises
        ------
        SpoolError
            If the folder cannot be read.
        """
        try:
            self.set_aside.sweep()
            return remove_abandoned(self._tmp)
        except OSError as exc:
            raise spool_error(exc) from exc

    def _hold(self, key: str, descriptor: int) -> None:
        # A copy of the descriptor shares the lock and keeps it when the file is closed.
        self._held[key] = os.dup(descriptor)

    def _let_go(self, key: str) -> None:
        self.receipts.forget(key)
        descriptor = self._held.pop(key, None)
        if descriptor is not None:
            os.close(descriptor)

    def _next_ns(self) -> int:
        """Return a time that grows with every object; the kernel's time stamps can be equal within a few milliseconds."""
        with self._clock_lock:
            self._last_ns = max(time.time_ns(), self._last_ns + 1)
            return self._last_ns


def _chunks_of(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as exc:
        raise SourceUnreadable from exc


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting; a FIFO without a writer is at its end at once."""
    return os.open(path, flags | os.O_NONBLOCK)


def _ages(entries: Iterable[os.DirEntry[str]]) -> Iterator[tuple[int, str]]:
    for entry in entries:
        if not KEY.fullmatch(entry.name):
            continue
        try:
            yield entry.stat(follow_symlinks=False).st_mtime_ns, entry.name
        except FileNotFoundError:
            # Another process has registered and removed it since the folder was listed.
            continue
        except OSError:
            # Registering it reports the error; the other objects must not wait for that.
            yield 0, entry.name


def _lock_named(descriptor: int, path: Path) -> bool:
    """Lock a file that was opened by `path`; False if it is locked already, or was removed before the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        # The file system has no locks, so several processes at one spool are not kept apart.
        return True
