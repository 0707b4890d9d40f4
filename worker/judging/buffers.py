"""The buffers of films: the C library keeps them for the next film.

glibc gives the top of the heap back to the system as soon as twice the largest freed buffer is free there, and the next film
then asks for each of its pages again. A compressed film of 10 MB costs 9 to 20 ms of CPU by that alone.
"""

from __future__ import annotations

import ctypes

#: mallopt(3): how much may be free at the top of the heap, and from which size on a buffer is not on the heap; bytes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGE = 64 << 20, 32 << 20


def keep_buffers() -> None:
    """Keep up to 64 MiB that were freed, for buffers of up to 32 MiB; another C library than glibc goes on as it is."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
