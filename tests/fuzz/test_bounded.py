"""The bounds the hostile-input tests rely on do bind."""

from __future__ import annotations

import os
import threading

import pytest

from tests.fuzz.bounded import MIB, bounded


def _claim(size: int) -> int:
    return len(b"x" * size)


def _wait(seconds: float) -> None:
    # for nothing: the wait is what the deadline has to cut short
    threading.Event().wait(seconds)


def _loop() -> None:
    while True:
        pass


def _crash() -> None:
    os.abort()


def _speak(words: str) -> str:
    print(words)  # noqa: T201
    return words.upper()


def test_the_value_the_words_and_the_cost_come_back() -> None:
    ended = bounded(_speak, "quite")
    assert (ended.value, ended.printed) == ("QUITE", "quite\n")
    assert ended.peak_bytes < 8 * MIB
    assert 15 * MIB < bounded(_claim, 16 * MIB, memory=64 * MIB).peak_bytes < 24 * MIB


@pytest.mark.parametrize(
    ("function", "argument", "said"),
    [(_claim, (128 * MIB,), "MemoryError"), (_crash, (), "Fatal Python error"), (_loop, (), "ended with -24")],
)
def test_what_breaks_the_child_fails_the_test(function, argument, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        bounded(function, *argument, memory=64 * MIB, seconds=0.2)


def test_what_waits_too_long_fails_the_test() -> None:
    with pytest.raises(AssertionError, match=r"took .* more than 0.01 s"):
        bounded(_wait, 0.1, seconds=0.01)
