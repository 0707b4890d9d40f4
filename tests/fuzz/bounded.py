"""Run a function in a process of its own under a memory limit and a deadline: what hostile input does to a child, the
tests survive.

The limit is on the address space, above what the child holds after its imports: a claim of gigabytes that would only
be reserved and never touched is caught too. The function and its arguments must be picklable (a function of a module).
"""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that came to its end: what the function returned, what was printed, and what it took."""

    value: Any
    printed: str
    seconds: float
    peak_bytes: int


def bounded(function: Callable[..., Any], *arguments: Any, memory: int = 256 * MIB, seconds: float = 10.0) -> Ended:
    """Call a function in a child; the test fails when it raises, crashes, or needs more memory or time than given.

    Parameters
    ----------
    function : callable
        A function of a module, found there by its name.
    *arguments
        Anything that can be pickled.
    memory : int
        Bytes of address space above what the child has after its imports.
    seconds : float
        The function's time, without the child's start.

    Returns
    -------
    Ended
        ``peak_bytes`` is how far the resident set rose at its highest above where it was after the imports.
    """
    order = pickle.dumps((function.__module__, function.__qualname__, arguments, memory, seconds))
    with tempfile.TemporaryDirectory(prefix="auscult-bounded-") as folder:
        result, printed = Path(folder, "result"), Path(folder, "printed")
        with printed.open("wb") as stream:
            child = subprocess.run(
                [sys.executable, "-m", "tests.fuzz.bounded", str(result)],
                cwd=ROOT,
                # one arena: every further one reserves 64 MiB of address space that nobody uses
                env={**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1", "PYTHONFAULTHANDLER": "1"},
                input=order,
                stdout=stream,
                stderr=stream,
                check=False,
                timeout=seconds + 60,
            )
        said = printed.read_text("utf-8", "replace")
        if child.returncode or not result.exists():
            msg = f"{function.__qualname__} ended with {child.returncode} in its child:\n{said[-4000:]}"
            raise AssertionError(msg)
        value, took, peak = pickle.loads(result.read_bytes())
    if took > seconds:
        msg = f"{function.__qualname__} took {took:.1f} s, more than {seconds:g} s"
        raise AssertionError(msg)
    return Ended(value, said, took, peak)


def _child(result: Path) -> None:
    name, function_name, arguments, memory, seconds = pickle.loads(sys.stdin.buffer.read())
    function: Any = __import__(name, fromlist=["_"])
    for part in function_name.split("."):
        function = getattr(function, part)
    _limit(memory, seconds)
    before, started = _peak(), time.monotonic()
    value = function(*arguments)
    result.write_bytes(pickle.dumps((value, time.monotonic() - started, _peak() - before)))


def _limit(memory: int, seconds: float) -> None:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    space = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # a loop that never ends is killed even when the parent is gone: by SIGXCPU, twice the time allowed
    spent = int(sum(os.times()[:2]) + 2 * seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent, spent + 5))


def _peak() -> int:
    """The highest resident set so far; not getrusage's, which begins with what the parent had."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
