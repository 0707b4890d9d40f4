"""Entries that failed: each waits for a growing pause of its own, so that later entries go first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class _Setback:
    tries: int
    due: float


class Setbacks:
    """Which entries failed, how often, and when each is to be tried again; kept in memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, _Setback] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def due(self, keys: Sequence[str]) -> list[str]:
        """The entries that do not wait: those that never failed first, else in the given order."""
        now = self._clock()
        again = [key for key in keys if key in self._entries and self._entries[key].due <= now]
        return [key for key in keys if key not in self._entries] + again

    def add(self, key: str) -> int:
        """Note that an entry failed; returns how often it has failed."""
        entry = self._entries.setdefault(key, _Setback(0, 0.0))
        pause = min(FIRST_PAUSE_S * 2 ** min(entry.tries, 10), LONGEST_PAUSE_S)
        entry.tries, entry.due = entry.tries + 1, self._clock() + pause
        return entry.tries

    def forget(self, key: str) -> None:
        """Note that an entry was processed, or is gone."""
        self._entries.pop(key, None)

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all but these."""
        kept = set(keys)
        self._entries = {key: entry for key, entry in self._entries.items() if key in kept}

    def retry_all(self) -> None:
        """Make every entry due now."""
        for entry in self._entries.values():
            entry.due = 0.0
