"""Processes that hold the file by which others see that they live, to be killed, stopped or left alone."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.presence import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HOLD = """
import sys
from pathlib import Path
from worker.presence import Presence
presence = Presence(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[5])
for task_id in (9, int(sys.argv[4])):
    presence.at(task_id)
print(presence.key, flush=True)
sys.stdin.read()
"""


@contextmanager
def claimant(
    home: Path, name: str = "", parent: str = "", at_work: int = 0, claims: str = TASKS
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that is present in a data folder under a name, at a task, and the key of its file."""
    command = [sys.executable, "-c", _HOLD, str(home), name, parent, str(at_work), claims]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            key = process.stdout.readline().strip()
            assert key
            yield process, key
        finally:
            process.kill()


def killed(home: Path, name: str, parent: str = "", at_work: int = 0) -> None:
    """Leave the file of a process that was killed."""
    with claimant(home, name, parent, at_work) as (process, _):
        process.kill()
        process.wait()
