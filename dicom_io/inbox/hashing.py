"""Hashes the parts of a large object on another thread, while its next part is received and written."""

from __future__ import annotations

import os
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
        if sum(map(len, parts)) < LEAST_BYTES:
            self._hash(parts)
        else:
            self._hashing = _threads().submit(self._hash, parts)

    def wait(self) -> None:
        """Wait until everything is hashed."""
        hashing, self._hashing = self._hashing, None
        if hashing:
            hashing.result()

    def result(self) -> ReceivedDigests:
        """Return the digests of everything."""
        self.wait()
        return self._running.result()

    def _hash(self, parts: Sequence[bytes | memoryview]) -> None:
        for part in parts:
            self._running.update(part)


@cache
def _threads() -> ThreadPoolExecutor:
    """The threads of this process; they start when they are first needed, after any fork."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "digests")
