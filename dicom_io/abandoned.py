"""Temporary files of writers that have ended, found by the lock that each writer holds (`durable.create_locked`)."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def remove_abandoned(folder: Path, older_than_s: float = 0.0, pattern: str = "*") -> int:
    """Remove the files that ended writers left in a folder of temporary names; return how many.

    A running writer, in this process or another, holds a lock on its file (`durable.create_locked`), so its file is kept. A file
    that cannot be removed is kept too; it does no harm.

    Parameters
    ----------
    folder : Path
        The folder.
    older_than_s : float, optional
        Least age in seconds. On a volume that several machines share, a machine may not see the locks of another.
    pattern : str, optional
        Of the names, where other files lie there too.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    return sum(_remove_if_abandoned(path, older_than_s) for path in folder.glob(pattern))


def _remove_if_abandoned(path: Path, older_than_s: float) -> int:
    try:
        # Without waiting: the other end of a FIFO may never be opened.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        if time.time() - os.fstat(descriptor).st_mtime < older_than_s:
            return 0
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    return 1
