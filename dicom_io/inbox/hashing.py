"""Hashes the parts of a large object on another thread, while its next part is received and written.

One processor is left to those who receive. Where all others hash already, an object is hashed by the thread that receives it:
nothing is gained by handing it on, and the bytes are still in the cache of this processor.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from dicom_io.header.digests import ReceivedDigests, RunningDigests

#: Fewer bytes are hashed at once: to wake another thread would take longer.
LEAST_BYTES: Final = 1 << 18


class DigestsBehind:
    """Digests of a data set that run at most one part behind its bytes.

    Parameters
    ----------
    running : RunningDigests
        The digests.
    """

    def __init__(self, running: RunningDigests) -> None:
        self._running = running
        self._hashing: Future[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the last bytes are still being hashed."""
        return self._hashing is not None and not self._hashing.done()

    def update(self, parts: Sequence[bytes | memoryview]) -> None:
        """Hash the next bytes, large ones on another thread: then they must not change before the next call returns."""
        self.wait()
        if sum(map(len, parts)) < LEAST_BYTES or not _free().acquire(blocking=False):
            self._hash(parts)
        else:
            self._hashing = _threads().submit(self._hash_behind, parts)

    def wait(self) -> None:
        """Wait until everything is hashed."""
        hashing, self._hashing = self._hashing, None
        if hashing:
            hashing.result()

    def result(self) -> ReceivedDigests:
        """Return the digests of everything."""
        self.wait()
        return self._running.result()

    def _hash_behind(self, parts: Sequence[bytes | memoryview]) -> None:
        try:
            self._hash(parts)
        finally:
            _free().release()

    def _hash(self, parts: Sequence[bytes | memoryview]) -> None:
        for part in parts:
            self._running.update(part)


@cache
def _threads() -> ThreadPoolExecutor:
    """The threads of this process; they start when they are first needed, after any fork."""
    return ThreadPoolExecutor(max(1, _most_at_once()), "digests")


@cache
def _free() -> threading.Semaphore:
    """Counts the threads that may begin to hash."""
    return threading.Semaphore(_most_at_once())


def _most_at_once() -> int:
    """How many objects other threads hash at once; none where there is one processor."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors - 1
