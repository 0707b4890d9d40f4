"""Faults of the host: full, slow and foreign disks, and a clock that jumps."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

from tests.faults.hook.seams import COPY
from tests.faults.stack import SQLITE
from tests.faults.turn import Turn, kind
from tests.support.exchange import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK, CLOCK = "disk", "clock"
AWAY_S = 4.0
HOUR_S = 3600


@contextmanager
def _no_growth(pids: list[int]) -> Iterator[None]:
    """No file of these processes can grow (RLIMIT_FSIZE), which is what a full disk is to them."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    _limit(pids, (0, hard))
    try:
        yield
    finally:
        _limit(pids, (hard, hard))


def _limit(pids: list[int], limits: tuple[int, int]) -> None:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, limits)


@kind("disk of the spool full", DISK)
def fill_spool(turn: Turn) -> None:
    turn.part_way()
    with _no_growth(turn.stack.pids("listen")):
        turn.senders.wait_silence(AWAY_S)


@kind("disk of the films full", DISK)
def fill_films(turn: Turn) -> None:
    with _no_growth(turn.stack.pids("child")):
        turn.part_way()
        turn.senders.wait_silence(AWAY_S)


@kind("whole disk full", DISK, needs_shim=True)
def fill_all(turn: Turn) -> None:
    turn.part_way()
    turn.stack.host.set("is_full", 1)
    turn.senders.wait_silence(AWAY_S)


@kind("disk out of inodes", DISK, needs_shim=True)
def use_up_inodes(turn: Turn) -> None:
    turn.part_way()
    turn.stack.host.set("no_inodes", 1)
    turn.senders.wait_silence(AWAY_S)


@kind("disk slow", DISK, needs_shim=True)
def slow_down(turn: Turn) -> None:
    turn.stack.host.set("sync_ms", 300)
    turn.part_way()
    turn.senders.wait_silence(AWAY_S)


@kind("store on another file system, killed while it copies", DISK, needs_shim=True)
def foreign_store(turn: Turn) -> None:
    turn.stack.host.set("is_foreign", 1)
    try:
        turn.at_seam(COPY, "kill")
        turn.senders.wait_acked(turn.objects)
    finally:
        turn.stack.host.set("is_foreign", 0)


@kind("store away, then mounted again", DISK)
def store_away(turn: Turn) -> None:
    turn.part_way()
    store = turn.stack.store
    # The empty folder takes the store's place at once, as a mount point does: a store that is missing is made again.
    empty = store.with_name("store.aside")
    empty.mkdir(mode=0o700)
    exchange(empty, store)
    try:
        turn.senders.wait_silence(AWAY_S)
    finally:
        exchange(empty, store)
        # A process may have looked at the store just before.
        shutil.rmtree(empty)


@kind("clock of the host jumps an hour ahead, and back", CLOCK, needs_shim=True, short=(SQLITE,))
def jump_ahead(turn: Turn) -> None:
    turn.part_way()
    turn.stack.host.set("clock_s", HOUR_S)
    turn.senders.wait_silence(AWAY_S)


@kind("clock of the host jumps two hours back, and ahead", CLOCK, needs_shim=True)
def jump_back(turn: Turn) -> None:
    turn.part_way()
    turn.stack.host.set("clock_s", -2 * HOUR_S)
    turn.senders.wait_silence(AWAY_S)


@kind("everything killed, started again with a clock an hour back", CLOCK, needs_shim=True)
def restart_in_the_past(turn: Turn) -> None:
    turn.stack.host.set("clock_s", HOUR_S)
    turn.part_way()
    turn.ends_supervisor = True
    turn.stack.kill()
