"""Work of a process that serves, done in a fork of it that ends: what SQL and models take at the start is not kept for months."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from worker.judging.confined import Confined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.judging.confined import Job

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """What ``work`` returns, None or a value of JSON; raises `Foreseen` with the sentence and exit code of its error.

    For the main thread of a process that has no other threads.
    """

    @contextmanager
    def done() -> Iterator[Job]:
        yield work(), lambda _: None

    with Confined(done, 0, start_s=None) as fork:
        found: T = fork.start()
    return found
