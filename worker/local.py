"""A command's own worker: tasks are done in a process beside it, which a film may cost but not the command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from worker.confined import Confined, Unanswered
from worker.db import queries
from worker.db.claims import give_up
from worker.db.workers import LOCAL_KIND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from worker.bootstrap import Database
    from worker.confined import Job
    from worker.settings import Settings


class LocalWorker:
    """Scores tasks one by one; one that hangs or dies costs its task an attempt, as it does with any worker."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._confined = Confined(self._seat, settings.task_limit_s)
        #: What films have waited for longest, and for how many seconds; None while nothing is away.
        self.away: tuple[Reason, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._confined.close()

    @contextmanager
    def _seat(self) -> Iterator[Job]:
        """Task ids in, what films wait for out; says by which name it claims them."""
        # Here, in the process that judges: the command itself needs neither decoders nor networks.
        from worker.seat import take_seat

        seat = take_seat(self._settings, kind=LOCAL_KIND)

        def answer(task_id: int) -> tuple[Reason, float] | None:
            seat.score(task_id)
            return seat.bench.outages.longest()

        try:
            yield seat.name, answer
        finally:
            seat.leave()

    def score(self, task_id: int) -> None:
        """Do one task, if it is still to be done; raises the errors of `worker.confined` that end a command."""
        # SQLite's locks belong to a process: none may be open where another is forked off.
        self._database.dispose()
        try:
            away = self._confined.ask(task_id)
            self.away = (Reason(away[0]), float(away[1])) if away else None
        except Unanswered as error:
            name = str(self._confined.hello)
            give_up(
                self._database.sessions,
                [task_id],
                name,
                error.reason,
                backoff_ms=round(self._settings.retry_backoff_s * 1000),
                max_attempts=self._settings.max_attempts,
            )
            queries.sign_off(self._database.sessions, name)
