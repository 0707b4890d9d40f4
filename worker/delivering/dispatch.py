"""Step 2 of a delivery: the loop that plans, starts a process for each destination with work, and cleans up behind it."""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from worker.db.delivery import changes
from worker.db.delivery.ends import any_lost, release
from worker.delivering.confirmations import ConfirmationBook
from worker.delivering.planner import plan
from worker.delivering.timing import give_up_ms, pauses_of
from worker.loops import Loop
from worker.presence import DELIVERIES, departed
from worker.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from worker.database import Database
    from worker.settings import Settings

logger = logging.getLogger(__name__)

TICK_S = 1.0
#: Destinations that are sent to at the same time; each takes a process of some 100 MB.
MOST_AT_ONCE = 8
#: A process that has sent for so long gives its place up where another destination waits for one.
TURN_S = 30.0
#: How long a process may finish its attempt when the listener ends.
LEAVE_S = 5.0
#: A process that ends with an error is started again after this pause, which doubles up to the second.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(slots=True)
class _Running:
    owner: str
    process: subprocess.Popen[bytes]
    #: Whether it was told to end after its attempt.
    is_leaving: bool = False


class Deliverer(Loop):
    """Plans deliveries and runs one process for each destination that has any; any number of listeners may do so."""

    name = "deliverer"

    def __init__(self, settings: Settings, database: Database, most_at_once: int = MOST_AT_ONCE) -> None:
        super().__init__(TICK_S)
        self._most = most_at_once
        self._settings = settings
        self._database = database
        self._pauses = pauses_of(settings)
        self.confirmations = ConfirmationBook(settings.home / "confirmations", database.sessions)
        self._running: dict[int, _Running] = {}
        #: When a process of each destination was last started (monotonic): whose is longest ago is the next.
        self._started_at: dict[int, float] = {}
        #: When to start the process of a destination again, and how often it has failed in a row.
        self._later: dict[int, tuple[float, int]] = {}

    def turn(self) -> bool:
        """Plan, start and clean up; without destinations that is one query, and a look at two folders."""
        more: list[bool] = []
        steps: list[Callable[[], object]] = [
            self._collect,
            self._release_departed,
            lambda: self.confirmations.take(self._pauses),
        ]
        with self._database.reads() as session:
            if changes.in_use(session):
                if any_lost(session):
                    steps.append(lambda: release(self._database.sessions, self._pauses))
                steps += [partial(self._plan, number, more) for number in changes.behind(session)]
                steps.append(self._start_due)
        self.each(*steps)
        return any(more)

    def stop(self, timeout_s: float) -> None:
        """End the loop and its processes; an attempt that takes longer is cut off, and made again later."""
        self._stop.set()
        # Before this loop's thread ends, as its processes are killed with it.
        left = list(self._running.values())
        for running in left:
            running.process.terminate()
        deadline = time.monotonic() + LEAVE_S
        for running in left:
            try:
                running.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
        super().stop(timeout_s)

    def _plan(self, destination_id: int, more: list[bool]) -> None:
        more.append(plan(self._database.sessions, destination_id, give_up_ms(self._settings)))

    def _start_due(self) -> None:
        with self._database.reads() as session:
            due = dict(changes.with_work(session))
        now = time.monotonic()
        waiting = [number for number in due if number not in self._running and now >= self._not_before(number)]
        waiting.sort(key=lambda number: self._started_at.get(number, -math.inf))
        free = self._most - len(self._running)
        for number in waiting[:free]:
            self._started_at[number] = now
            self._running[number] = self._start(number)
            logger.info("a sender was started", extra={"action": "deliver_start", "destination": due[number]})
        self._make_room(len(waiting[free:]), due, now)

    def _make_room(self, places: int, due: Collection[int], now: float) -> None:
        """Let so many processes end after the attempt that they make, where there are such."""
        staying = {number: self._started_at[number] for number, each in self._running.items() if not each.is_leaving}
        leaving = len(self._running) - len(staying)
        for number in giving_way(staying, due, now)[: max(0, places - leaving)]:
            self._running[number].is_leaving = True
            self._running[number].process.terminate()
            logger.info("a sender makes room", extra={"action": "deliver_turn", "destination_id": number})

    def _start(self, destination_id: int) -> _Running:
        owner = f"{socket.gethostname()[:120]}:{secrets.token_hex(16)}"
        command = [sys.executable, "-m", "worker.delivering.process", str(destination_id), owner, str(os.getpid())]
        process = subprocess.Popen(
            command,
            env=child_environment(self._settings),
            stdin=subprocess.DEVNULL,
            # A Ctrl-C reaches this process alone.
            process_group=0,
        )
        return _Running(owner, process)

    def _collect(self) -> None:
        """Put back what ended processes had claimed."""
        for destination_id, running in list(self._running.items()):
            code = running.process.poll()
            if code is None:
                continue
            del self._running[destination_id]
            held = 0
            if code:
                held = release(self._database.sessions, self._pauses, running.owner)
                logger.warning("a sender ended", extra={"action": "deliver_lost", "code": code, "rows": held})
            self._put_off(destination_id, failed=bool(code) and not held)

    def _release_departed(self) -> None:
        """Put back what senders of this data folder had claimed that ended unseen, as with their listener."""
        for ended in departed(self._settings.home, claims=DELIVERIES):
            held = release(self._database.sessions, self._pauses, ended.name)
            if held:
                logger.warning("a sender ended with its listener", extra={"action": "deliver_lost", "rows": held})
            ended.forget()

    def _not_before(self, destination_id: int) -> float:
        return self._later.get(destination_id, (0.0, 0))[0]

    def _put_off(self, destination_id: int, *, failed: bool) -> None:
        """A process that ends before it claims anything is not started again at once."""
        if not failed:
            with suppress(KeyError):
                del self._later[destination_id]
            return
        failures = self._later.get(destination_id, (0.0, 0))[1] + 1
        pause = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S)
        self._later[destination_id] = (time.monotonic() + pause, failures)


def giving_way(since: Mapping[int, float], due: Collection[int], now: float) -> list[int]:
    """The destinations whose processes end when others wait for a place: those without work first, then who sent longest.

    `since`: when each process was started; `due`: the destinations with work.
    """
    idle_first = sorted(since, key=lambda number: (number in due, since[number]))
    return [number for number in idle_first if number not in due or now - since[number] >= TURN_S]
