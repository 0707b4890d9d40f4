"""The files by which the processes of a data folder find each other: lock, port file and socket.

The owner of a file holds an flock on it, which the kernel releases however the process ends. No process removes or
replaces a file that another one holds. A file without a holder was left behind and may be replaced.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from worker.errors import SettingsError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FOLDER = "run"
LOCK_FILE = "up.lock"
ROOT = 0
# Linux allows 107 bytes in the path of a unix socket (unix(7), sun_path).
LONGEST_SOCKET_PATH = 100

#: Descriptors of data folders whose path is too long for a socket; they stay open as long as the process lives.
_folders: dict[Path, int] = {}


class HomeInUse(WorkerError):
    """Another supervisor runs on this data folder."""


@contextmanager
def home_locked(home: Path, command: str) -> Iterator[None]:
    """Hold the data folder for one supervisor; raises HomeInUse with the one that holds it."""
    descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
            msg = f"the data folder {home} is in use by {holder}: end that first, or choose another by AUSCULT_HOME"
            raise HomeInUse(msg) from error
        # The lock holds without the note, so a full disk does not keep a site from starting.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{command}, process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def check_home(home: Path) -> None:
    """Raise SettingsError for a data folder that another user made where everybody may make one, as in /tmp."""
    is_open = home.parent.stat().st_mode & stat.S_IWOTH
    if is_open and not _owners(home) <= {os.geteuid(), ROOT}:
        msg = f"the data folder {home} belongs to another user: choose another by AUSCULT_HOME"
        raise SettingsError(msg)


def make_run_folder(folder: Path) -> None:
    """Make the folder of run files, for its owner alone; raises SettingsError when it leads to another user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _owners(folder) <= {os.geteuid(), ROOT, folder.parent.stat().st_uid}:
        msg = f"{folder} belongs to another user or leads to a folder of one: remove it"
        raise SettingsError(msg)
    if stat.S_IMODE(folder.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        # Some file systems have no modes.
        with suppress(OSError):
            folder.chmod(0o700)


def _owners(path: Path) -> set[int]:
    """The owner of a path and, where it is a link, of its target."""
    return {path.lstat().st_uid, path.stat().st_uid}


def connectable(home: Path, name: str) -> Path:
    """Path of a socket ``run/name`` that a process can connect to, however long the data folder's path is.

    A long path is reached by a descriptor of the data folder, so the socket can always be in that folder.
    """
    path = home / RUN_FOLDER / name
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    try:
        descriptor = _descriptor(home)
    except OSError:
        # There is no data folder yet, so nothing listens in it.
        return path
    return Path(f"/proc/self/fd/{descriptor}") / RUN_FOLDER / name


def _descriptor(folder: Path) -> int:
    known = _folders.get(folder)
    if known is None or not os.path.samestat(os.fstat(known), folder.stat()):
        known = _folders[folder] = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return known


class PortFile:
    """The file with a listener's port; of several listeners of a data folder, the first live one holds it."""

    def __init__(self, path: Path, port: int) -> None:
        self._path = path
        self._port = port
        self._descriptor: int | None = None

    def claim(self) -> None:
        """Write the file, whole or not at all, unless another listener holds it; raises OSError, SettingsError."""
        if self._is_ours() or is_held(self._path):
            return
        self._close()
        make_run_folder(self._path.parent)
        self._remove_dead_drafts()
        draft = self._path.with_suffix(f".{uuid4().hex}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, str(self._port).encode("ascii"))
            draft.replace(self._path)
        except OSError:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor

    def _remove_dead_drafts(self) -> None:
        """Remove the drafts of listeners that were killed while they wrote; a living one that loses its draft tries again."""
        for draft in self._path.parent.glob(f"{self._path.stem}.{'[0-9a-f]' * 32}"):
            if not is_held(draft):
                draft.unlink(missing_ok=True)

    def release(self) -> None:
        """Remove the file if it is ours."""
        if self._is_ours():
            self._path.unlink(missing_ok=True)
        self._close()

    def _is_ours(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def clear_port(path: Path) -> None:
    """Remove a port file that a killed listener left behind, so that no process reads an old port."""
    if not is_held(path):
        path.unlink(missing_ok=True)


def read_port(path: Path) -> int | None:
    """The port of the listener that holds the file; None where none lives."""
    try:
        return int(path.read_text(encoding="ascii")) if is_held(path) else None
    except (OSError, ValueError):
        return None


def is_held(path: Path) -> bool:
    """Whether a living process holds the file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
