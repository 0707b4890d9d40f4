"""What every child process does at its start: it is killed when its parent ends, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: prctl(2).
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends; on Linux alone.

    SIGKILL, since a stopped process obeys no other signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with(parent: int) -> None:
    """The same for a process that was just forked; it ends at once where its parent has ended meanwhile."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


class Become(BaseException):
    """Raised in a process that was just forked: it is to start again, as the command with these arguments."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self.arguments = arguments
