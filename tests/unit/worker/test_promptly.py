"""Systems that are asked at once: one that hangs keeps nobody waiting."""

from __future__ import annotations

import threading

from worker.promptly import NoAnswer, ask_all


def test_one_that_hangs_is_left_behind_and_the_others_are_heard() -> None:
    released = threading.Event()

    def fail() -> None:
        raise LookupError

    found = ask_all({"hangs": released.wait, "fails": fail, "answers": lambda: 7, "is nothing": lambda: None}, 0.2)
    # Not before: a question that is waited for would never be released.
    released.set()
    assert isinstance(found["hangs"], NoAnswer)
    assert isinstance(found["fails"], LookupError)
    assert (found["answers"], found["is nothing"]) == (7, None)
    assert list(found) == ["hangs", "fails", "answers", "is nothing"]


def test_all_are_asked_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    found = ask_all({str(number): lambda: meeting.wait(30) >= 0 for number in range(3)}, 30)
    assert found == {"0": True, "1": True, "2": True}
