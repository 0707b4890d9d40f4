"""The memory that the objects being received may take, of all associations together."""

from __future__ import annotations

import threading
import time
from typing import Final

_MOMENT_S = 1.0


class Budget:
    """Shares a number of bytes among associations; safe to use from all their threads.

    Over the limit only the object that began first is received further; the senders of the others wait. So the sum is
    bounded (by the limit and one object), and there is always one object that can be completed.

    Parameters
    ----------
    limit_bytes : int
        The limit, in bytes.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit: Final = limit_bytes
        self._lock = threading.Lock()
        # In the order in which their objects began.
        self._held: dict[object, int] = {}
        self._total = 0
        self._wanted_at = float("-inf")

    @property
    def total(self) -> int:
        """Bytes held now."""
        return self._total

    @property
    def is_wanted(self) -> bool:
        """Whether an association waits for memory, or did less than a second ago."""
        return time.monotonic() - self._wanted_at < _MOMENT_S

    def may_take(self, holder: object) -> bool:
        """Whether `holder` may take more; if not, it has to ask again."""
        with self._lock:
            may = self._total < self._limit or self._oldest() is holder
            if not may:
                self._wanted_at = time.monotonic()
            return may

    def is_waited_for(self, holder: object) -> bool:
        """Whether others wait for `holder` to release its memory."""
        with self._lock:
            return self.is_wanted and self._oldest() is holder

    def _oldest(self) -> object:
        return next(iter(self._held), None)

    def take(self, holder: object, size: int) -> None:
        """Count `size` more bytes for `holder`."""
        with self._lock:
            self._held[holder] = self._held.get(holder, 0) + size
            self._total += size

    def release(self, holder: object) -> None:
        """Release everything that `holder` took."""
        with self._lock:
            self._total -= self._held.pop(holder, 0)
