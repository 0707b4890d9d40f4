"""A limit of time for one film in a worker's own process, which holds inside a decoder too.

A thread of the C library (`faulthandler`) ends the process when the time is up, whether or not Python code runs; it writes
"Timeout" into the file of the process first, by which the next process of the pool knows why this one has ended
(`worker.presence`). The limit is for one film alone: a message of several may take longer.
"""

from __future__ import annotations

import faulthandler
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def within_time(limit_s: float, descriptor: int | None) -> Iterator[None]:
    """End this process where the work takes longer; one film at a time.

    Parameters
    ----------
    limit_s
        Seconds that the work may take.
    descriptor
        The open file that gets "Timeout" and where each thread was; None: the standard error.
    """
    faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.stderr if descriptor is None else descriptor)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
