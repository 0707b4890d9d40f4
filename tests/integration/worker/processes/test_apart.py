"""Work in a fork that ends: what it returns and raises comes back, what it loads and allocates does not."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

import pytest

from worker.errors import DatabaseUnavailable, SettingsError
from worker.judging.confined import CannotStart, Foreseen
from worker.processes.apart import apart

pytestmark = pytest.mark.integration


def test_what_work_returns_comes_back_and_what_it_imports_does_not() -> None:
    def work() -> list[object]:
        import_module("wave")
        return [True, "wave" in sys.modules]

    already = "wave" in sys.modules
    assert apart(work) == [True, True]
    assert ("wave" in sys.modules) == already


@pytest.mark.parametrize("error", [SettingsError("a sentence"), DatabaseUnavailable("another sentence")])
def test_an_error_comes_back_with_its_sentence_and_exit_code(error: SettingsError | DatabaseUnavailable) -> None:
    def work() -> None:
        raise error

    with pytest.raises(Foreseen, match=str(error)) as caught:
        apart(work)
    assert caught.value.exit_code == error.exit_code


def test_a_fork_that_is_killed_is_an_error() -> None:
    with pytest.raises(CannotStart):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
