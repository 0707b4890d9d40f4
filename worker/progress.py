"""Progress of long work: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

logger = logging.getLogger(__name__)

#: Without a terminal one line for each tenth of the work is enough.
LOG_STEPS = 10

Advance = Callable[[int], None]


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Yield a function that takes the total amount done so far."""
    if sys.stderr.isatty():
        with _bar(what, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
    else:
        yield _log_lines(what, total)


@contextmanager
def noted(what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """The same with a note beside the amount."""
    if not sys.stderr.isatty():
        advance = _log_lines(what, total)
        yield lambda done, _: advance(done)
        return
    with _bar(what, "{task.fields[note]}") as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """The same for work that tells the total with each step."""
    with ExitStack() as stack:
        advance: list[Advance] = []

        def step(done: int, total: int) -> None:
            if not advance:
                advance.append(stack.enter_context(progress(what, total)))
            advance[0](done)

        yield step


def _bar(what: str, *notes: str, transient: bool = False) -> Progress:
    # rich is loaded for terminals alone: processes that serve have none, and share this module.
    from rich import progress as bars
    from rich.console import Console

    columns: list[ProgressColumn] = [bars.TextColumn(what), bars.BarColumn(), bars.MofNCompleteColumn()]
    columns += [bars.TextColumn(note) for note in notes]
    columns += [bars.TimeElapsedColumn(), bars.TimeRemainingColumn()]
    return bars.Progress(*columns, console=Console(stderr=True), transient=transient)


def _log_lines(what: str, total: int) -> Advance:
    said = -1

    def advance(done: int) -> None:
        nonlocal said
        step = LOG_STEPS * done // total if total else LOG_STEPS
        if step > said:
            said = step
            logger.info("%s", what, extra={"action": "progress", "done": done, "total": total})

    return advance
