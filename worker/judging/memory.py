"""A bound on the memory that reading one film may take."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dicom_io.errors import FilmError
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_STATM = Path("/proc/self/statm")
# Data and stack, in pages (proc(5)): what RLIMIT_DATA counts, but for the stack.
_DATA = 5


def within_memory(megabytes: int, work: Callable[[], T]) -> T:
    """Run ``work``, which may take ``megabytes`` (MiB) more than the process holds; raises FilmError TOO_LARGE above.

    The kernel refuses more (RLIMIT_DATA, setrlimit(2)), so an allocation fails and the process goes on. Models and
    libraries that are loaded already do not count. The same film fails again under the same bound, so the error is the
    film's answer and not a failed attempt. Without /proc there is no bound.
    """
    held = _data_bytes()
    if held is None:
        return work()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    bound = held + (megabytes << 20)
    if before[0] != resource.RLIM_INFINITY:
        bound = min(bound, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (bound, before[1]))
    try:
        return work()
    except MemoryError:
        raise FilmError(Reason.TOO_LARGE) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _data_bytes() -> int | None:
    try:
        return int(_STATM.read_text(encoding="ascii").split()[_DATA]) * resource.getpagesize()
    except OSError:
        return None
