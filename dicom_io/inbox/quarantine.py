"""The objects of a spool that could not be registered: ``quarantine/<key>``, and why: ``quarantine-notes/<key>.json``.

A note is durable before its object is moved. Objects set aside by an earlier release, or on a full disk, have none.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dicom_io.clean import clean_text
from dicom_io.durable import fsync_folder, move_durably, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTES = "quarantine-notes"
_SUFFIX = ".json"
_LONGEST_TEXT = 64
#: Largest note that is read, bytes; a real one has 200.
_LARGEST_NOTE = 4096


@dataclass(frozen=True, slots=True)
class Note:
    """Why an object was set aside; holds no patient data.

    Attributes
    ----------
    reason : str
        A code of `dicom_io.reasons.Reason`, or another word in capitals.
    cause : str
        Class of the error.
    tries : int
        How often it was tried.
    at : str
        When it was set aside: ISO 8601 in UTC.
    """

    reason: str
    cause: str
    tries: int = 1
    at: str = ""

    @classmethod
    def of(cls, reason: str, error: Exception, tries: int = 1) -> Note:
        """The note of an error."""
        return cls(reason, type(error).__name__, tries, datetime.now(UTC).isoformat(timespec="milliseconds"))


@dataclass(frozen=True, slots=True)
class SetAside:
    """An object in quarantine.

    Attributes
    ----------
    key : str
        Its key in the spool.
    path : pathlib.Path
        Where it is.
    is_file : bool
        False for a folder, a link or a device, which was never received.
    size : int
        Bytes.
    at : datetime.datetime
        When it was set aside, by its note, else by the file system.
    note : Note or None
        Why; None where there is no note.
    """

    key: str
    path: Path
    is_file: bool
    size: int
    at: datetime
    note: Note | None


class Quarantine:
    """The quarantine of a spool; safe to use beside a running listener.

    Parameters
    ----------
    root : pathlib.Path
        Folder of the spool.
    """

    def __init__(self, root: Path) -> None:
        self._folder, self._notes = root / "quarantine", root / NOTES
        self._new, self._tmp = root / "new", root / "tmp"

    def take(self, key: str, note: Note | None) -> Path:
        """Move an object out of ``new/``; raises OSError. A note that cannot be written keeps nothing from it."""
        aside = self._folder / key
        if note:
            with suppress(OSError):
                write_whole(self._note(key), [json.dumps(asdict(note)).encode()], self._tmp)
        move_durably(self._new / key, aside)
        return aside

    def entries(self) -> list[SetAside]:
        """Return what is there, the oldest first; raises OSError where the folder cannot be read."""
        found = []
        with suppress(FileNotFoundError):
            found = list(self._found())
        return sorted(found, key=lambda entry: (entry.at, entry.key))

    def count(self) -> int:
        """Return how many objects are there; raises OSError where the folder cannot be read."""
        with suppress(FileNotFoundError):
            return sum(1 for _ in self._folder.iterdir())
        return 0

    def release(self, key: str) -> None:
        """Put an object back into ``new/``, to be registered again; raises OSError."""
        move_durably(self._folder / key, self._new / key)
        self._forget(key)

    def discard(self, key: str) -> None:
        """Delete an object for good; raises OSError, FileNotFoundError where it is gone."""
        path = self._folder / key
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
        fsync_folder(self._folder)
        self._forget(key)

    def sweep(self) -> None:
        """Remove notes whose object is neither in quarantine nor on its way there; raises OSError."""
        with suppress(FileNotFoundError):
            for path in self._notes.iterdir():
                key = path.name.removesuffix(_SUFFIX)
                # In this order: an object moves from the one to the other.
                if not os.path.lexists(self._new / key) and not os.path.lexists(self._folder / key):
                    path.unlink(missing_ok=True)

    def _found(self) -> Iterator[SetAside]:
        for path in self._folder.iterdir():
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            note = self._read(path.name)
            at = _moment(note.at if note else "") or datetime.fromtimestamp(status.st_ctime, UTC)
            yield SetAside(path.name, path, stat.S_ISREG(status.st_mode), status.st_size, at, note)

    def _note(self, key: str) -> Path:
        return self._notes / f"{key}{_SUFFIX}"

    def _forget(self, key: str) -> None:
        with suppress(OSError):
            self._note(key).unlink(missing_ok=True)

    def _read(self, key: str) -> Note | None:
        try:
            with self._note(key).open("rb") as file:
                fields = json.loads(file.read(_LARGEST_NOTE))
            reason, cause = (clean_text(str(fields[name]), _LONGEST_TEXT) for name in ("reason", "cause"))
            return Note(reason, cause, int(fields["tries"]), str(fields["at"]))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
