"""Release the claims of processes that have ended, at once and not when their leases run out (step 4 of the flow)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from worker.db.tasks import release
from worker.db.tasks.workers import sign_off
from worker.presence import departed

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from sqlalchemy.orm import Session, sessionmaker

    from worker.presence import Departed
    from worker.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReleaseOptions:
    """The data folder whose processes are looked at, and the bounds on attempts."""

    home: Path
    backoff_ms: int
    max_attempts: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The options that the settings name."""
        return cls(settings.home, round(settings.retry_backoff_s * 1000), settings.max_attempts)


def release_departed(sessions: sessionmaker[Session], options: ReleaseOptions, parent: str = "") -> int:
    """Release the claims of the processes of this data folder that have ended; returns how many there were.

    A process that ended while its parent lived on (`parent`, or any that a time limit ended) ended because of the film
    in work: a failed attempt of that one. One that ended together with its parent was interrupted. Where the database is away the files of
    the processes stay, and the next call goes on.
    """
    return sum(_release(sessions, options, each) for each in departed(options.home, parent))


def _release(sessions: sessionmaker[Session], options: ReleaseOptions, ended: Departed) -> int:
    count = 0
    if ended.name:
        if ended.is_timed_out or ended.is_alone:
            reason = Reason.TIMED_OUT if ended.is_timed_out else Reason.WORKER_LOST
            count = release.give_up(
                sessions,
                ended.name,
                reason,
                at_work=ended.at_work,
                backoff_ms=options.backoff_ms,
                max_attempts=options.max_attempts,
            )
        else:
            reason = None
            count = release.interrupt(sessions, ended.name, options.max_attempts)
        sign_off(sessions, ended.name)
        facts = {"action": "release", "worker": ended.name, "tasks": count, "reason": reason}
        logger.warning("a worker has ended, its films are released", extra=facts)
    ended.forget()
    return count
