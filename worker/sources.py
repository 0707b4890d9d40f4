"""What lies under the paths of a command line: regular files, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


def existing(paths: Sequence[Path]) -> Sequence[Path]:
    """The paths; raises UsageError that names those that are not there."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        msg = f"no such file or folder: {', '.join(missing)}"
        raise UsageError(msg)
    return paths


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """Every regular file under these paths, in order; below a folder hidden files and links are left out."""
    for path in paths:
        if path.is_dir():
            found = (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
            yield from sorted(file for file in found if not _is_hidden(file.relative_to(path)))
        else:
            yield path


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
