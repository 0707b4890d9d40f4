"""Waiting for something that another process or thread brings about: never for longer than a deadline, never blindly."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
SHORTEST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.25


def wait_until(predicate: Callable[[], T | None], timeout_s: float = 30.0, what: str = "the condition") -> T:
    """Call `predicate` until it gives something true and return that; fail with `what` when the deadline passes.

    An exception in the predicate is the test's failure at once. The pauses grow from 10 ms to 250 ms, so that a
    slow query is not repeated hundreds of times.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = SHORTEST_PAUSE_S
    never = threading.Event()
    while True:
        found = predicate()
        if found:
            return found
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what}; last seen: {found!r}")
        never.wait(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
