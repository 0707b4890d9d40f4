"""Put back the tasks that an ended process had claimed, so that they do not wait for their leases.

The fencing token keeps this safe: should the process still run against all evidence, its claims are lost, and nothing
that it writes later is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, update

from dicom_io.reasons import Reason
from worker.db.schema.engine import in_transaction
from worker.db.schema.sql import IS_OPEN
from worker.db.schema.states import TaskState
from worker.db.schema.study import Task
from worker.db.tasks import claims

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker


def give_up(sessions: sessionmaker[Session], owner: str, reason: Reason, *, backoff_ms: int, max_attempts: int) -> int:
    """Put back the tasks of a process that ended because of them: failed attempts; returns how many."""
    held = in_transaction(sessions, lambda session: claims.held_by(session, owner))
    return sum(
        claims.retry_later(
            sessions,
            claim,
            error_class="",
            error_code=reason,
            backoff_ms=backoff_ms * 2 ** (claim.attempts - 1),
            max_attempts=max_attempts,
        )
        for claim in held
    )


def interrupt(sessions: sessionmaker[Session], owner: str, most: int) -> int:
    """Put back the tasks of a process that ended together with its parent; returns how many.

    That is no fault of a film, so the attempt is not counted, but for `most` times only: a film that ends all processes
    of a machine each time must come to an end too.
    """
    is_excused = Task.interruptions < most
    statement = (
        update(Task)
        .where(IS_OPEN, Task.state == TaskState.CLAIMED, Task.lease_owner == owner)
        .values(
            state=TaskState.PENDING,
            attempts=case((is_excused, Task.attempts - 1), else_=Task.attempts),
            interruptions=case((is_excused, Task.interruptions + 1), else_=Task.interruptions),
            error_code=Reason.WORKER_LOST.value,
            lease_owner=None,
            lease_until_ms=None,
            not_before_ms=0,
            hinted_at_ms=None,
            hint_count=0,
        )
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    return in_transaction(sessions, lambda session: len(session.execute(statement).all()))
