"""Freed memory goes back to the system, and threads share arenas; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; glibc's allocator")

HELD = """
import re
from worker.allocator import {name}
def held_kb():
    return int(re.search(r"Private_Dirty:\\s+(\\d+)", open("/proc/self/smaps_rollup").read())[1])
"""
TRIM = """
blocks = [bytearray(100_000) for _ in range(400)]
last = bytearray(100_000)
blocks.clear()
before = held_kb()
give_back()
print(before - held_kb())
"""
ARENAS = """
import threading
use_few_arenas()
gate = threading.Barrier(17)
def allocate():
    block = bytearray(100_000)
    gate.wait()
    gate.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads: thread.start()
gate.wait()
# An arena of a thread is a mapping that begins at a multiple of 64 MiB (HEAP_MAX_SIZE).
starts = [int(line.split("-")[0], 16) for line in open("/proc/self/maps")]
print(sum(start % (64 << 20) == 0 for start in starts))
gate.wait()
for thread in threads: thread.join()
"""


def run(name: str, code: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", HELD.format(name=name) + code], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_what_is_free_between_two_blocks_goes_back():
    assert run("give_back", TRIM) > 30_000


def test_threads_share_arenas():
    assert run("use_few_arenas", ARENAS) <= 2
