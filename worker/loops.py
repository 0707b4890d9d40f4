"""A background loop: a thread that works when woken or after each tick, and survives every error of a turn."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.logs import error_class

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: The pause after the first failed turn, and the longest; it doubles in between.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0


class Loop(ABC):
    """Runs ``turn`` again and again; a turn that fails is logged, counted and tried again after a growing pause.

    Any error is caught: a loop that ended over an unforeseen one would leave the rest of its process looking well. The same
    failure in a row is logged once, and its end is logged too.
    """

    name: str

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        #: Turns that failed in a row; 0 while all is well.
        self.failures = 0
        #: Class of the last failed turn's error, "" while all is well.
        self.cause = ""
        #: When the first of these turns failed.
        self.failing_since: datetime | None = None

    @abstractmethod
    def turn(self) -> bool:
        """Do what is due; True when there may be more at once."""

    def rest(self) -> None:  # noqa: B027 - most loops need none
        """Wait after the loop was woken, before its next turn; a loop that is ended must not wait long."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs; a process must end when one of its loops died."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Do the next turn now; a loop whose last turn failed keeps to its pause."""
        self._wake.set()

    def end(self) -> None:
        """Begin no other turn; `stop` waits for the one in progress."""
        self._stop.set()
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Finish the turn in progress, then end."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def each(self, *steps: Callable[[], object]) -> None:
        """Run every step, also those after a failed one; raises the first error at the end."""
        first: Exception | None = None
        for step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the turn of a loop: one step must not keep the others from their work
                first = first or error
        if first:
            raise first

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                again = self.turn()
            except Exception as error:  # noqa: BLE001 - the turn of a loop: it is counted, and the loop goes on
                self._failed(error)
                self._stop.wait(self._pause_s)
                continue
            self._well()
            if not again:
                self._wake.wait(self._tick_s)
                self.rest()
                self._wake.clear()

    @property
    def _pause_s(self) -> float:
        doubled = float(2 ** min(self.failures - 1, 10))
        return min(min(self._tick_s, FIRST_PAUSE_S) * doubled, LONGEST_PAUSE_S)

    def _failed(self, error: Exception) -> None:
        cause = error_class(error)
        if cause != self.cause:
            logger.warning("%s waits, its turn failed", self.name, extra={"action": "away"}, exc_info=error)
        self.failing_since = self.failing_since or datetime.now(UTC)
        self.cause = cause
        self.failures += 1

    def _well(self) -> None:
        if self.failures:
            logger.info("%s goes on", self.name, extra={"action": "back", "failures": self.failures})
        self.failures, self.cause, self.failing_since = 0, "", None
