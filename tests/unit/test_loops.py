"""A background loop goes on when what it needs is away, and ends loudly when only a person can mend it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.waiting import wait_until
from worker.errors import SchemaTooNew
from worker.hints import BrokerAway
from worker.loops import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


class Scripted(Loop):
    """Does in each turn what the script says: an error to raise, or whether there is more."""

    name = "scripted"

    def __init__(self, *script: BaseException | bool, tick_s: float = 60.0) -> None:
        super().__init__(tick_s)
        self.script = list(script)
        self.turns = 0
        self.idle = threading.Event()

    def turn(self) -> bool:
        self.turns += 1
        step = self.script.pop(0) if self.script else False
        if not self.script:
            self.idle.set()
        if isinstance(step, BaseException):
            raise step
        return step


@pytest.fixture
def started() -> Iterator[list[Loop]]:
    loops: list[Loop] = []
    yield loops
    for loop in loops:
        loop.stop(5)


def test_it_goes_on_at_once_while_there_is_more_and_then_waits(started: list[Loop]) -> None:
    loop = Scripted(True, True, False)
    started.append(loop)
    loop.start()
    assert loop.idle.wait(5)
    assert loop.turns == 3
    loop.wake()
    wait_until(lambda: loop.turns == 4, 5, "the turn after the wake")


@pytest.mark.parametrize("error", [BrokerAway("away"), OSError("no route")])
def test_what_is_away_is_tried_again_at_the_next_tick(error: Exception, started: list[Loop]) -> None:
    loop = Scripted(error, error, False, tick_s=0.01)
    started.append(loop)
    loop.start()
    assert loop.idle.wait(5)
    assert loop.is_alive
    assert loop.fatal is None


def test_what_only_a_person_can_mend_ends_the_loop_and_is_kept(started: list[Loop]) -> None:
    error = SchemaTooNew("newer")
    loop = Scripted(error)
    started.append(loop)
    loop.start()
    wait_until(lambda: not loop.is_alive, 5, "the end of the thread")
    assert loop.fatal is error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_nobody_foresaw_ends_the_thread_visibly(started: list[Loop]) -> None:
    loop = Scripted(ZeroDivisionError())
    started.append(loop)
    loop.start()
    wait_until(lambda: not loop.is_alive, 5, "the end of the thread")


def test_a_stopped_loop_ends_before_its_tick() -> None:
    loop = Scripted(False, tick_s=3600)
    loop.start()
    assert loop.idle.wait(5)
    loop.stop(5)
    assert not loop.is_alive
