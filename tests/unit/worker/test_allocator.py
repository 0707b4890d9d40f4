"""Freed memory goes back to the system, and threads share arenas; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

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
DROP = """
import mmap, sys
from pathlib import Path
path = Path(sys.argv[1])
with path.open("rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
def held_kb():
    found = Path("/proc/self/smaps").read_text().split(f" {path}\\n")[1]
    return int(re.search(r"Rss:\\s+(\\d+)", found)[1])
content, before = mapped[:], held_kb()
drop_pages(path)
dropped = before - held_kb()
assert mapped[:] == content
print(dropped)
"""


def run(name: str, code: str, *arguments: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", HELD.format(name=name) + code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


def test_what_is_free_between_two_blocks_goes_back():
    assert run("give_back", TRIM) > 30_000


def test_threads_share_arenas():
    assert run("use_few_arenas", ARENAS) <= 2


def test_a_mapped_file_is_dropped_and_read_again(tmp_path: Path):
    path = tmp_path / "with a space"
    path.write_bytes(bytes(range(256)) * 16_384)
    assert run("drop_pages", DROP, path) == 4096
