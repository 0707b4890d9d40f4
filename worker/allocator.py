"""The memory of processes that serve: few arenas, and what is free or unused goes back to the system.

The C library (glibc) keeps the freed buffers of large films for the next one, and gives each thread an arena of its own.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

_MAPS = Path("/proc/self/maps")
#: mallopt(3), and madvise(2).
_M_ARENA_MAX = -8
_MADV_DONTNEED = 4
ARENAS = 2


def use_few_arenas() -> None:
    """Let all threads share `ARENAS` arenas; where the C library knows no arenas nothing happens."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give freed memory back to the system, which takes milliseconds; another C library keeps it."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def drop_pages(path: Path) -> None:
    """Drop the pages of a file that this process has mapped to read; one that is asked for again is read again.

    LiteRT maps a network and works on a copy that it has packed: what was read for that would count for ever.
    """
    with suppress(OSError):
        for line in _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            addresses, rights, *_, name = [*line.split(maxsplit=5), ""][:6]
            if name == str(path.resolve()) and "w" not in rights:
                first, last = (int(address, 16) for address in addresses.split("-"))
                ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_DONTNEED)
