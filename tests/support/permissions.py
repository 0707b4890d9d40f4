"""File permissions that hold for root too, as they do for the account a service runs under."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# capabilities(7): the version of the call's layout, and CAP_DAC_OVERRIDE with CAP_DAC_READ_SEARCH.
_VERSION = 0x20080522
_OVERRIDE = 1 << 1 | 1 << 2


@contextmanager
def permissions_hold() -> Iterator[None]:
    """Take from this thread what lets root read and write whatever the mode of a file says."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = struct.pack("Ii", _VERSION, 0), ctypes.create_string_buffer(24)
    assert libc.capget(header, before) == 0
    effective, *others = struct.unpack("6I", before.raw[:24])
    assert libc.capset(header, struct.pack("6I", effective & ~_OVERRIDE, *others)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before.raw[:24]) == 0
