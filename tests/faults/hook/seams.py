"""Named seams of the path, at which a process of a site under test acts when an order names the seam.

The product knows nothing of this: functions are wrapped when their module is imported. An order is a file, so it can be
given while the site runs; the process that comes to the seam first takes it by renaming the file, and acts once. Standard
library alone, since every process loads this module at its start.
"""

from __future__ import annotations

import functools
import importlib.abc
import json
import os
import signal
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec


@dataclass(frozen=True)
class Seam:
    """A function, named by the module that looks it up, and whether the seam lies before or after it."""

    module: str
    attribute: str
    is_after: bool


def _before(module: str, attribute: str) -> Seam:
    return Seam(module, attribute, is_after=False)


def _after(module: str, attribute: str) -> Seam:
    return Seam(module, attribute, is_after=True)


RECEIVE = {
    "before the temporary file is written": _before("dicom_io.inbox.draft", "write_views"),
    "after the temporary file is written": _after("dicom_io.inbox.draft", "write_views"),
    "after a file is synced": _after("dicom_io.durable", "os.fsync"),
    "after the rename, before the folder is synced": _before("dicom_io.durable", "fsync_folder"),
    "in the spool, before 0x0000": _after("dicom_io.inbox.spool", "Spool.commit"),
}
REGISTER = {
    "before the original is linked into the store": _before("dicom_io.inbox.store", "Store.link"),
    "after the original is linked into the store": _after("dicom_io.inbox.store", "Store.sync"),
    "before the commit of the rows": _after("worker.intake.filing", "register_all"),
    "after the commit of the rows": _after("worker.intake.filing", "Filing._write"),
    "before the spool entry is removed": _before("dicom_io.inbox.spool", "Spool.remove"),
    "after the spool entry is removed": _after("dicom_io.inbox.spool", "Spool.remove"),
}
COPY = {
    "before the original is copied to another file system": _before("dicom_io.inbox.store", "write_whole"),
    "after the original is copied to another file system": _after("dicom_io.inbox.store", "write_whole"),
}
DISPATCH = {
    "before a hint is published": _before("worker.queue.hints", "HintPublisher.publish"),
    "after a hint is published": _after("worker.queue.hints", "HintPublisher.publish"),
    "while complete studies are settled": _after("worker.db.tasks.queue", "settle_studies"),
}
WORK = {
    "before tasks are claimed": _before("worker.judging.lanes", "claim_due"),
    "after tasks are claimed": _before("worker.judging.lanes", "score_claims"),
    "while a film is decoded": _before("worker.judging.pipeline", "film_of_dicom"),
    "after films are saved": _after("dicom_io.film.store", "FilmStore.save_all"),
    "between two films that are recorded together": _before("worker.judging.pipeline", "_attempt"),
    "before the commit of results": _after("worker.db.tasks.claims", "record_all"),
    "after the commit of results": _after("worker.db.tasks.claims", "finish"),
}
RERUN = {
    "while a re-run is written": _after("worker.db.batches.opening", "_add_tasks"),
    "after a re-run is written": _before("worker.batches.rerun", "follow"),
}
MIGRATE = {"after a step of a migration": _after("alembic.runtime.migration", "HeadMaintainer.update_to_step")}
SEAMS = {**RECEIVE, **REGISTER, **COPY, **DISPATCH, **WORK, **RERUN, **MIGRATE}

ORDER = "order.json"


class _Orders:
    """The order of this site, and how often this process has come to its seam."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._order = self._folder / ORDER
        self._passes: dict[str, int] = {}

    def come_to(self, seam: str) -> None:
        """Act, if the order names this seam and no other process has taken it."""
        try:
            order = json.loads(self._order.read_text("utf-8"))
        except (OSError, ValueError):
            return
        if order["seam"] != seam:
            return
        number = order["number"]
        self._passes[number] = self._passes.get(number, 0) + 1
        if self._passes[number] < order["nth"]:
            return
        try:
            self._order.rename(self._folder / f"taken-{number}")
        except OSError:
            return
        (self._folder / f"pid-{number}").write_text(str(os.getpid()))
        _ACTIONS[order["action"]]()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _hang() -> None:
    while True:
        time.sleep(60)


def _eat() -> None:
    held = []
    while True:
        held.append(bytearray(64 << 20))


def _kill_grandparent() -> None:
    os.kill(int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)


_ACTIONS = {
    "kill": _kill,
    "kill the parent": _kill_parent,
    "kill the grandparent": _kill_grandparent,
    "stop": _stop,
    "hang": _hang,
    "eat memory": _eat,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as the others do, and has those with seams wrapped once they are loaded."""

    def __init__(self, wanted: dict[str, list[str]], orders: _Orders) -> None:
        self._wanted = wanted
        self._orders = orders

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._wanted:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_and_wrap(module: types.ModuleType) -> None:
                execute(module)
                for seam in self._wanted[name]:
                    wrap(module, seam, self._orders.come_to)

            spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


def wrap(module: types.ModuleType, name: str, come_to: Callable[[str], None]) -> None:
    """Put a seam around its function; raises AttributeError where the function is not there any more."""
    seam = SEAMS[name]
    *owners, last = seam.attribute.split(".")
    holder: Any = module
    for owner in owners:
        found = getattr(holder, owner)
        if isinstance(found, types.ModuleType):
            # A copy, so that other users of that module keep theirs.
            copy = types.ModuleType(owner)
            copy.__dict__.update(found.__dict__)
            setattr(holder, owner, copy)
            found = copy
        holder = found
    function = getattr(holder, last)

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if not seam.is_after:
            come_to(name)
        answer = function(*arguments, **named)
        if seam.is_after:
            come_to(name)
        return answer

    setattr(holder, last, wrapped)


def install(folder: str) -> None:
    """Wrap the seams of every module that this process will import."""
    wanted: dict[str, list[str]] = {}
    for name, seam in SEAMS.items():
        wanted.setdefault(seam.module, []).append(name)
    sys.meta_path.insert(0, _Finder(wanted, _Orders(folder)))
