"""A purge of records, or an erasure, in a process of its own that is killed (SIGKILL) at a step that is named."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from worker.db.retention import files, records, runs
from worker.retention import removing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.retention import Holding

#: Each step with the function that the process does not survive.
STEPS: dict[str, tuple[Any, str]] = {
    "files are marked, not committed": (runs, "renew"),
    "files are marked": (removing.Remover, "_remove_one"),
    "files are removed": (files, "confirm"),
    "rows are next": (records, "delete_record"),
    "rows are deleted, not committed": (records, "record"),
    "all is done": (runs, "finish"),
}


def killed(holding: Holding, work: Callable[[], object], step: str) -> None:
    """Do the work in a process that ends by SIGKILL at the step; its purge counts as dead at once afterwards."""
    holding.database.dispose()
    holding.site.engine.dispose()
    child = os.fork()
    if child == 0:
        try:
            setattr(*STEPS[step], _die)
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    holding.site.change("UPDATE purge SET lease_until_ms = 1 WHERE running = 1")


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
