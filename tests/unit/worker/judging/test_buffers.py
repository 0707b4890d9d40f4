"""A worker's process keeps the buffers of a film for the next one."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's allocator")

FILMS = """
import resource
import numpy as np
from worker.judging.buffers import keep_buffers
keep_buffers()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [np.ones(10 << 20, np.uint8) for _ in range(4)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_the_next_film_asks_for_no_page_again() -> None:
    """The four buffers have 10,240 pages; two thousand of them were asked for again where nothing is kept."""
    done = subprocess.run([sys.executable, "-c", FILMS], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 100
