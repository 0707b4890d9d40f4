"""Ask several systems at once, with one time limit for all."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class NoAnswer(Exception):
    """The system has not answered in time."""


def ask_all(questions: Mapping[str, Callable[[], Any]], within_s: float) -> dict[str, Any]:
    """For each question its answer, the exception it raised, or `NoAnswer` after ``within_s`` seconds.

    Each runs in a thread of its own, which is left behind where it hangs: the drivers' own time limits, for each attempt
    and each address of a name, add up to much more than a user waits for a status.
    """
    answers: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answers[name] = question()
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises or names it
            answers[name] = error

    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in questions.items()]
    for thread in threads:
        thread.start()
    deadline = monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    found = dict(answers)
    return {name: found[name] if name in found else NoAnswer() for name in questions}
