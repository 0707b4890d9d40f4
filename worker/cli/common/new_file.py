"""The file that a command is to write: it must not replace another document by mistake."""

from __future__ import annotations

from pathlib import Path

from worker.errors import UsageError


def check_new(path: Path, *, force: bool | None = None) -> None:
    """Check that a file may be written, before any work is done.

    `force`: it may take the place of another file; None: the verb has no option for that.

    Raises `UsageError` if it exists or its folder does not.
    """
    if path.exists() and not (force and path.is_file()):
        what_else = "" if force is None else ", or replace it by --force"
        msg = f"{path} exists: name a new file, so that no other document is replaced{what_else}"
        raise UsageError(msg)
    if not path.absolute().parent.is_dir():
        msg = f"the folder {path.absolute().parent} does not exist: make it, or name a file in another"
        raise UsageError(msg)
