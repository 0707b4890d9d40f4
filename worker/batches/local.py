"""A command's own worker: a process beside the command, so that a film that kills it does not end the command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from worker.db.tasks.release import give_up
from worker.db.tasks.workers import LOCAL_KIND, sign_off
from worker.judging.confined import Confined, Unanswered
from worker.presence import note_timeout, present

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from worker.database import Database
    from worker.judging.confined import Job
    from worker.presence import Presence
    from worker.settings import Settings


class LocalWorker:
    """Scores tasks one by one; a film that hangs or kills the process costs its task an attempt, as with any worker."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._presence: Presence | None = None
        self._confined = Confined(self._worker, settings.task_limit_s)
        #: The reason films have waited for longest, and for how many seconds; None while nothing is away.
        self.away: tuple[Reason, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._confined.close()
        if self._presence:
            self._presence.leave()
            self._presence = None

    @contextmanager
    def _worker(self) -> Iterator[Job]:
        """Takes task ids, answers with the reason films wait for; says the name under which it claims tasks."""
        # Imported here, in the process that judges: the command itself starts faster without decoders and networks.
        from worker.judging.task_worker import start_worker

        worker = start_worker(self._settings, LOCAL_KIND, self._presence.key if self._presence else "")

        def answer(task_id: int) -> tuple[Reason, float] | None:
            worker.score(task_id)
            return worker.context.outages.longest()

        try:
            yield worker.name, answer
        finally:
            worker.stop()

    def score(self, task_id: int) -> None:
        """Do a task unless it is done already; raises the errors of `worker.judging.confined` that end a command."""
        # SQLite's locks belong to a process: none may be open where another is forked off.
        self._database.dispose()
        self._presence = self._presence or present(self._settings.home)
        try:
            away = self._confined.ask(task_id)
            self.away = (Reason(away[0]), float(away[1])) if away else None
        except Unanswered as error:
            name = str(self._confined.hello)
            if error.reason is Reason.TIMED_OUT:
                # Where the database is away now, the next process of this data folder knows why.
                note_timeout(self._settings.home, name)
            give_up(
                self._database.sessions,
                name,
                error.reason,
                backoff_ms=round(self._settings.retry_backoff_s * 1000),
                max_attempts=self._settings.max_attempts,
            )
            sign_off(self._database.sessions, name)
