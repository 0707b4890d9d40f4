"""What lies in the folder of originals, or of films: files by key, and what is neither.

Both folders have the layout ``root/ab/cd/<key><suffix>``, and files are written in ``root/tmp``. Reading changes nothing.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_io.durable import spool_error
from dicom_io.inbox.store import MARKER, TMP

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY = re.compile(r"[0-9a-f]{32,64}")


class EntryKind(Enum):
    """What a file in such a folder is."""

    #: A file with its key, at its place.
    KEPT = "kept"
    #: The temporary file of a write.
    PART = "part"
    #: Anything else: Auscult did not put it there.
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the folder; `key` is "" where it is not KEPT, `age_s` is its age by its last change."""

    kind: EntryKind
    path: Path
    key: str
    age_s: float


def entries(root: Path, suffix: str) -> Iterator[Entry]:
    """Walk through a folder of originals (".dcm") or films (".png"); folders come and go meanwhile.

    Raises
    ------
    SpoolError
        If a folder cannot be read.
    """
    try:
        yield from _walk(root, suffix)
    except OSError as error:
        raise spool_error(error) from error


def _walk(folder: Path, suffix: str, depth: int = 0) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as found:
            listed = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in listed:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False) and depth < 2:
            yield from _walk(path, suffix, depth + 1)
        elif path.name != MARKER or depth:
            yield from _entry(path, suffix)


def _entry(path: Path, suffix: str) -> Iterator[Entry]:
    try:
        age_s = time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return
    key = path.name.removesuffix(suffix)
    is_at_its_place = path.parts[-3:] == (key[:2], key[2:4], f"{key}{suffix}")
    if is_at_its_place and _KEY.fullmatch(key):
        yield Entry(EntryKind.KEPT, path, key, age_s)
    elif path.parent.name == TMP or (path.name.startswith(".") and path.suffix == ".part"):
        yield Entry(EntryKind.PART, path, "", age_s)
    else:
        yield Entry(EntryKind.FOREIGN, path, "", age_s)
