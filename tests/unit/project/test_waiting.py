from __future__ import annotations

import threading

import pytest

from tests.support.waiting import wait_until


def test_what_the_predicate_found_is_given_back():
    assert wait_until(lambda: "found", 1) == "found"


def test_a_condition_that_comes_true_in_time_ends_the_wait():
    event = threading.Event()
    timer = threading.Timer(0.05, event.set)
    timer.start()
    wait_until(event.is_set, 5, "the event")
    timer.join()


def test_the_deadline_fails_the_test_and_names_what_was_awaited():
    with pytest.raises(AssertionError, match=r"waited 0\.05 s in vain for a miracle; last seen: 0"):
        wait_until(lambda: 0, 0.05, "a miracle")
