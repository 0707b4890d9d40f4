"""What lies under the paths of a command line: regular files, in order."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


def existing(paths: Sequence[Path]) -> Sequence[Path]:
    """The paths; raises UsageError that names those that are not there, or are neither file nor folder."""
    missing = [path for path in paths if not os.path.lexists(path)]
    # a pipe or a device may never end
    odd = [path for path in paths if path not in missing and not (_is(path, stat.S_ISREG) or _is(path, stat.S_ISDIR))]
    for wrong, what in ((missing, "no such file or folder"), (odd, "neither file nor folder")):
        if wrong:
            msg = f"{what}: {', '.join(map(str, wrong))}"
            raise UsageError(msg)
    return paths


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.stat().st_mode)
    except OSError:
        return False


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """Every regular file under these paths, in order; below a folder hidden files and links are left out.

    A folder that cannot be read is given itself, so that whoever opens it finds out and says so.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(_below(path))
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    """Without recursion: a path may nest deeper than Python does."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        yield Path(entry.path)
        except OSError:
            yield here
