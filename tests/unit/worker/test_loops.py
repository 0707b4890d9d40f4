"""A background loop goes on whatever a turn raises, counts what failed, and tries again after a growing pause."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import wait_until
from worker.errors import DatabaseUnavailable, ModelMismatch, SchemaTooNew
from worker.loops import FIRST_PAUSE_S, LONGEST_PAUSE_S, Loop
from worker.queue.hints import BrokerAway

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
        loop.stop(30)


def test_it_goes_on_at_once_while_there_is_more_and_then_waits(started: list[Loop]) -> None:
    loop = Scripted(True, True, False)
    started.append(loop)
    loop.start()
    assert loop.idle.wait(30)
    assert loop.turns == 3
    loop.wake()
    wait_until(lambda: loop.turns == 4, 30, "the turn after the wake")


@pytest.mark.parametrize(
    "error",
    [
        BrokerAway("away"),
        DatabaseUnavailable("away"),
        OSError("no route"),
        SchemaTooNew("newer"),
        ModelMismatch("other contents"),
        ZeroDivisionError(),
        MemoryError(),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_turn_raises_the_loop_goes_on(error: Exception, started: list[Loop]) -> None:
    loop = Scripted(error, error, False, tick_s=0.01)
    started.append(loop)
    loop.start()
    assert loop.idle.wait(30)
    assert loop.is_alive
    wait_until(lambda: loop.failures == 0, 30, "the loop to count as well again")
    assert (loop.cause, loop.failing_since) == ("", None)


def test_failed_turns_in_a_row_are_counted_with_their_class_and_since_when(started: list[Loop]) -> None:
    loop = Scripted(*[ZeroDivisionError("Doe^John")] * 3, *[SchemaTooNew("newer")] * 1000, tick_s=0.001)
    started.append(loop)
    loop.start()
    wait_until(lambda: loop.failures > 3, 30, "the fourth failed turn")
    assert loop.cause == "worker.errors.SchemaTooNew"
    assert loop.failing_since is not None


def test_a_failure_is_logged_once_with_its_class_and_never_with_its_text(caplog: pytest.LogCaptureFixture) -> None:
    loop = Scripted(*[ZeroDivisionError("Doe^John")] * 3, False, tick_s=0.001)
    loop.start()
    assert loop.idle.wait(30)
    loop.stop(30)
    failed = [record for record in caplog.records if getattr(record, "action", "") == "away"]
    assert [record.getMessage() for record in failed] == ["scripted waits, its turn failed"]
    assert failed[0].exc_info is not None


def test_the_pause_after_a_failure_doubles_up_to_its_limit_and_is_never_longer_than_the_tick_at_first() -> None:
    loop = Scripted(tick_s=60)
    pauses = []
    for failures in (1, 2, 3, 4, 5, 1000):
        loop.failures = failures
        pauses.append(loop._pause_s)
    assert pauses == [FIRST_PAUSE_S, 1.0, 2.0, 4.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    quick = Scripted(tick_s=0.01)
    quick.failures = 1
    assert quick._pause_s == 0.01


def test_a_failed_step_keeps_no_other_step_from_its_work() -> None:
    done: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Scripted().each(lambda: done.append("before"), fail, lambda: done.append("after"))
    assert done == ["before", "after"]


def test_a_stopped_loop_ends_before_its_tick() -> None:
    loop = Scripted(False, tick_s=3600)
    loop.start()
    assert loop.idle.wait(30)
    loop.stop(30)
    assert not loop.is_alive


def test_a_failing_loop_ends_before_its_pause() -> None:
    loop = Scripted(*[OSError()] * 20, tick_s=3600)
    loop.start()
    wait_until(lambda: loop.failures >= 1, 30, "the failed turn")
    loop.stop(30)
    assert not loop.is_alive


def test_loops_that_are_told_to_end_do_so_side_by_side() -> None:
    """Each turn goes on until both loops were told: one that is waited for first would never end."""
    told = threading.Barrier(2)

    class Waits(Scripted):
        def turn(self) -> bool:
            self.idle.set()
            self._stop.wait(30)
            told.wait(30)
            return True

    loops = [Waits(), Waits()]
    for loop in loops:
        loop.start()
        assert loop.idle.wait(30)
    for loop in loops:
        loop.end()
    for loop in loops:
        loop.stop(30)
    assert not any(loop.is_alive for loop in loops)
