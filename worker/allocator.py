"""The C library's memory (glibc) in processes that serve: few arenas, and what is free goes back to the system.

glibc keeps the freed buffers of large films for the next one, and gives each thread an arena of its own.
"""

from __future__ import annotations

import ctypes

#: mallopt(3).
_M_ARENA_MAX = -8
ARENAS = 2


def use_few_arenas() -> None:
    """Let all threads share `ARENAS` arenas; where the C library knows no arenas nothing happens."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give freed memory back to the system, which takes milliseconds; another C library keeps it."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
