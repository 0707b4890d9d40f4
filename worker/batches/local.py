"""A command's own worker: a process beside the command, so that a film that kills it does not end the command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from worker.db.schema.states import LOCAL_KIND
from worker.db.tasks.release import give_up
from worker.db.tasks.workers import sign_off
from worker.judging.confined import Confined, Unanswered
from worker.judging.take_size import MOST, TAKE_S
from worker.presence import note_timeout, present, task_at_work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from worker.database import Database
    from worker.judging.confined import Job
    from worker.presence import Presence
    from worker.settings import Settings


class LocalWorker:
    """Does tasks, some at a time; a film that hangs or kills the process costs its task an attempt, as with any worker."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._presence: Presence | None = None
        self._confined = Confined(self._worker, settings.task_limit_s + TAKE_S)
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
        """Takes task ids, answers with how many were dealt with and what films wait for; first says who claims them."""
        # Imported here, in the process that judges: the command itself starts faster without decoders and networks.
        from worker.judging.parent import Parent
        from worker.judging.task_worker import start_worker

        worker = start_worker(self._settings, LOCAL_KIND, Parent(self._presence.key if self._presence else ""))

        def answer(task_ids: list[int]) -> tuple[int, tuple[Reason, float] | None]:
            return worker.work_on(task_ids), worker.context.outages.longest()

        try:
            yield worker.name, answer
        finally:
            worker.stop()

    def work_on(self, task_ids: Sequence[int]) -> int:
        """Do the first of these tasks, unless they are done already; how many of them were dealt with, at least one.

        Raises the errors of `worker.judging.confined` that end a command.
        """
        # SQLite's locks belong to a process: none may be open where another is forked off.
        self._database.dispose()
        self._presence = self._presence or present(self._settings.home)
        try:
            count, away = self._confined.ask(list(task_ids[:MOST]))
            self.away = (Reason(away[0]), float(away[1])) if away else None
            return max(int(count), 1)
        except Unanswered as error:
            name = str(self._confined.hello)
            if error.reason is Reason.TIMED_OUT:
                # Where the database is away now, the next process of this data folder knows why.
                note_timeout(self._settings.home, name)
            at_work = task_at_work(self._settings.home, name)
            give_up(
                self._database.sessions,
                name,
                error.reason,
                at_work=at_work,
                backoff_ms=round(self._settings.retry_backoff_s * 1000),
                max_attempts=self._settings.max_attempts,
            )
            sign_off(self._database.sessions, name)
            # Those before it were judged and not recorded, and are still open.
            return task_ids.index(at_work) + 1 if at_work in task_ids else 1
