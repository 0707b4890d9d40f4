"""The pace of a fetch: so many studies a minute, and only while the queue is short, so that live work goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

POLL_S = 1.0


class QueueStands(WorkerError):
    """The queue is full and no worker is alive to work on it: start `auscult up` or `auscult work`, or raise --max-queue."""

    exit_code = 1

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True, slots=True)
class QueueState:
    """How long the queue is and how many workers there are."""

    #: Images that wait or are being judged.
    length: Callable[[], int]
    workers: Callable[[], int]


class Pace:
    """Holds back the next study until its turn."""

    def __init__(
        self,
        per_minute: float | None,
        max_queue: int,
        queue: QueueState,
        stop: Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause_s = 60.0 / per_minute if per_minute else 0.0
        self._max_queue = max_queue
        self._queue = queue
        self._stop = stop
        self._clock = clock
        self._next = clock()

    def wait(self) -> None:
        """Wait for the next study's turn, or until the fetch is told to stop; raises QueueStands."""
        while not self._stop.is_set() and (pause_s := self._pause()):
            self._stop.wait(pause_s)
        self._next = max(self._next, self._clock()) + self._pause_s

    def _pause(self) -> float:
        if self._queue.length() >= self._max_queue:
            if not self._queue.workers():
                raise QueueStands
            return POLL_S
        return max(0.0, self._next - self._clock())
