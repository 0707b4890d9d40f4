"""A file for each process that claims tasks or deliveries, locked while it lives: its claims need not wait for their leases.

It names the task in work, since of all the tasks that a process has claimed only that one can have ended it.

The lock (flock) ends with the process, however that ends, across containers that share the data folder, and no reused
process id can fake it. A process whose lock is gone cannot write any more, so its claims can be given to others. Other
data folders, and other machines at a shared one, are left to their leases.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from worker.errors import SettingsError
from worker.logs import error_class
from worker.runfiles import RUN_FOLDER, is_held, make_run_folder

logger = logging.getLogger(__name__)

#: The folders of processes that claim tasks, and of those that claim deliveries.
TASKS, DELIVERIES = "claimants", "senders"
#: What `faulthandler` writes first when its time is up, and `note_timeout` too.
_TIMEOUT = b"Timeout"
#: A file is one line and at most a traceback.
_MOST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Departed:
    """A process that has ended without removing its file."""

    path: Path
    #: The name under which it claimed; empty for the parent of such processes.
    name: str
    #: Whether the time limit of a film ended it.
    is_timed_out: bool
    #: Whether its parent lives on: then the cause lies in what this process did.
    is_alone: bool
    #: The task that it was at; 0 between two films.
    at_work: int = 0

    def forget(self) -> None:
        """Remove the file, once nothing is claimed by the process any more."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Presence:
    """The file of this process, held until `leave` or the end of the process.

    Parameters
    ----------
    home : Path
        The data folder.
    name : str
        The name under which the process claims; empty for the parent of such processes.
    parent : str
        The `key` of the parent's own file, which tells whether the parent outlives this process.
    claims : str
        TASKS or DELIVERIES: what it claims.

    Raises
    ------
    OSError, SettingsError
        If the file cannot be made, on a full disk for one.
    """

    def __init__(self, home: Path, name: str = "", parent: str = "", claims: str = TASKS) -> None:
        self.key = uuid4().hex
        folder = home / RUN_FOLDER / claims
        make_run_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path = folder / self.key
        # The name with a dot is looked at by nobody, so the file appears with its lock and content or not at all.
        draft = folder / f".{self.key}"
        self.descriptor = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            line = json.dumps({"name": name, "parent": parent, "boot": _boot(), "machine": _machine()})
            os.write(self.descriptor, f"{line}\n{_work_line(0)}".encode())
            self._work_at = len(line) + 1
            # The other descriptor appends, wherever it is told to write.
            self._work = os.open(draft, os.O_WRONLY | os.O_CLOEXEC)
            draft.rename(self._path)
        except OSError:
            os.close(self.descriptor)
            draft.unlink(missing_ok=True)
            raise

    def at(self, task_id: int) -> None:
        """Note the task in work, 0 for none; a full disk does not matter, as the file keeps its length."""
        os.pwrite(self._work, _work_line(task_id).encode(), self._work_at)

    def leave(self) -> None:
        """Remove the file at an orderly end."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Unlock the file and leave it, so that others release what this process still claims."""
        os.close(self._work)
        os.close(self.descriptor)


def present(home: Path, name: str = "", parent: str = "", claims: str = TASKS) -> Presence | None:
    """The file by which others see that this process has ended; None where it cannot be made: then its leases tell."""
    try:
        return Presence(home, name, parent, claims)
    except (OSError, SettingsError) as error:
        logger.warning(
            "should this process end, what it has claimed waits for its lease",
            extra={"action": "no_presence", "cause": error_class(error)},
        )
        return None


def departed(home: Path, parent: str = "", claims: str = TASKS) -> list[Departed]:
    """The processes of a data folder that ended without removing their files, and whose claims are to be released.

    The child of a living parent is left to that parent's next child, which names it by `parent`; except one that a time
    limit ended, because that says all.
    """
    found = []
    for path in _files(home, claims):
        text = None if is_held(path) else _read(path)
        ended = text and _ended(path, text)
        if ended and (ended.is_timed_out or not ended.is_alone or _parent_of(text or b"") == parent):
            found.append(ended)
    return found


def task_at_work(home: Path, name: str) -> int:
    """The task that a process noted last; 0 for none, or where its file is not there."""
    texts = (_read(path) or b"" for path in _files(home))
    return next((_notes(text)[0] for text in texts if _line(text).get("name") == name), 0)


def note_timeout(home: Path, name: str) -> None:
    """Write into the file of a process whose name begins with `name` that a time limit ended it."""
    for path in _files(home):
        if str(_line(_read(path) or b"").get("name", "")).startswith(name):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(descriptor, _TIMEOUT)
            finally:
                os.close(descriptor)


def _files(home: Path, claims: str = TASKS) -> list[Path]:
    try:
        return [path for path in (home / RUN_FOLDER / claims).iterdir() if not path.name.startswith(".")]
    except OSError:
        return []


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return None


def _line(text: bytes) -> dict[str, str]:
    try:
        line = json.loads(text.partition(b"\n")[0])
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _parent_of(text: bytes) -> str:
    return str(_line(text).get("parent", ""))


def _ended(path: Path, text: bytes) -> Departed | None:
    """What the file of an unlocked process says; None where the process may live on another machine.

    A lock counts on the machine that took it. After a restart of that machine, known by its id, nothing lives any more.
    """
    line = _line(text)
    is_ours = line.get("boot") == _boot() or (line.get("machine") == _machine() != "")
    if not is_ours:
        return None
    parent = str(line.get("parent", ""))
    is_alone = bool(parent) and is_held(path.with_name(Path(parent).name))
    at_work, note = _notes(text)
    return Departed(path, str(line.get("name", "")), note.startswith(_TIMEOUT), is_alone, at_work)


def _work_line(task_id: int) -> str:
    """The line that names the task in work: always as long, so that it can be written over."""
    return f"{task_id:020d}\n"


def _notes(text: bytes) -> tuple[int, bytes]:
    """The task in work, and what follows; a file of an older release names none."""
    work, _, rest = text.partition(b"\n")[2].partition(b"\n")
    return (
        (int(work), rest) if len(work) == len(_work_line(0)) - 1 and work.isdigit() else (0, text.partition(b"\n")[2])
    )


@cache
def _boot() -> str:
    """The identity of this run of the kernel; containers share it."""
    return _text_of("/proc/sys/kernel/random/boot_id")


@cache
def _machine() -> str:
    return _text_of("/etc/machine-id")


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
