"""When each acknowledged object of a spool arrived, and the time until which all acknowledged objects are registered.

Ages are measured on this process's monotonic clock, so a clock that is set does not move an arrival. The database's
clock, read once a turn, turns them into times that all processes can compare.
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
        # An object acknowledged before the listing and missing in it was registered by another process.
        gone = [key for key, seen in tuple(self._seen_s.items()) if seen < began_s and key not in self._absent_ms]
        for key in gone:
            self._seen_s.pop(key, None)
        for key in keys:
            self._seen_s.setdefault(key, began_s)

    def registered_until_ms(self) -> int | None:
        """The time, in ms of the database's clock, until which every acknowledged object is registered.

        None while entries from before this process are left. An entry came after the last listing without it, so every
        object that came before that listing is registered.
        """
        if not self._absent_ms:
            return self._listed_ms
        known = [moment for moment in self._absent_ms.values() if moment is not None]
        return min(known) if len(known) == len(self._absent_ms) else None

    def arrived_ms(self, key: str) -> int:
        """When an object came, in ms of the database's clock; objects taken in order get different times.

        An object from before the start of this process counts from when it was first seen. That is too late, so its
        study waits too long rather than too short.
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
