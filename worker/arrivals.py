"""When each acknowledged object of a spool arrived, and up to when everything acknowledged is registered.

Ages are measured on this process's monotonic clock, so that a clock that jumps moves no arrival; the database's clock,
read once a turn, makes moments of them that every process can compare.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Arrivals:
    """The acknowledged objects of one spool that are not registered yet.

    `clock` gives seconds that never go back. `note` may be called from any thread, everything else from one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen_s: dict[str, float] = {}
        #: Of each entry, the database's clock before the last listing that did not hold it; None: there was none.
        self._absent_ms: dict[str, int | None] = {}
        self._listed_ms: int | None = None
        self._base = (0, 0.0)
        self._last = (0.0, 0)

    def note(self, key: str) -> None:
        """An object was acknowledged just now."""
        self._seen_s[key] = self._clock()

    def read_clock(self, clock_ms: int) -> None:
        """Take the database's clock, read just now and before the spool is listed."""
        self._base = (clock_ms, self._clock())

    def listed(self, keys: Sequence[str]) -> None:
        """Take every entry of the spool, listed after `read_clock`."""
        clock_ms, began_s = self._base
        self._absent_ms = {key: self._absent_ms.get(key, self._listed_ms) for key in keys}
        self._listed_ms = clock_ms
        # What was acknowledged before the listing and is not in it was registered by another process.
        gone = [key for key, seen in tuple(self._seen_s.items()) if seen < began_s and key not in self._absent_ms]
        for key in gone:
            self._seen_s.pop(key, None)
        for key in keys:
            self._seen_s.setdefault(key, began_s)

    def registered_until_ms(self) -> int | None:
        """Everything acknowledged until then is registered; None when entries from before this process are left.

        An entry came after the last listing without it, so nothing that came before that listing is missing.
        """
        if not self._absent_ms:
            return self._listed_ms
        known = [moment for moment in self._absent_ms.values() if moment is not None]
        return min(known) if len(known) == len(self._absent_ms) else None

    def arrived_ms(self, key: str) -> int:
        """When an object came, on the database's clock; of objects taken in order no two share a moment.

        What came before this process started counts from when it was first seen: later than it was, so that its study
        rather waits too long.
        """
        clock_ms, base_s = self._base
        seen_s = self._seen_s.get(key, base_s)
        moment = clock_ms - max(0, round((base_s - seen_s) * 1000))
        last_seen_s, last_ms = self._last
        if seen_s >= last_seen_s:
            moment = max(moment, last_ms + 1)
            self._last = (seen_s, moment)
        return moment

    def oldest_s(self) -> float:
        """How long the oldest entry has waited."""
        now = self._clock()
        return max((now - seen for seen in tuple(self._seen_s.values())), default=0.0)

    def forget(self, key: str) -> None:
        """An entry has left the spool."""
        self._seen_s.pop(key, None)
