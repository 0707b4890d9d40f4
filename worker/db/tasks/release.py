"""Put back the tasks that an ended process had claimed, so that they do not wait for their leases.

The fencing token keeps this safe: should the process still run against all evidence, its claims are lost, and nothing
that it writes later is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, case, update

from dicom_io.reasons import Reason
from worker.db.schema.engine import in_transaction
from worker.db.schema.sql import IS_OPEN, table_of
from worker.db.schema.states import TaskState
from worker.db.schema.study import Task
from worker.db.tasks import claims

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker


def give_up(
    sessions: sessionmaker[Session], owner: str, reason: Reason, *, at_work: int, backoff_ms: int, max_attempts: int
) -> int:
    """Put back the tasks of a process that ended because of its film; returns how many.

    `at_work`: the task that it was at: a failed attempt. The others had not been begun, or were judged and not recorded.
    """
    held = in_transaction(sessions, lambda session: claims.held_by(session, owner))
    ended = [claim for claim in held if claim.task_id == at_work]
    for claim in ended:
        claims.retry_later(
            sessions,
            claim,
            error_class="",
            error_code=reason,
            backoff_ms=backoff_ms * 2 ** (claim.attempts - 1),
            max_attempts=max_attempts,
        )
    return len(ended) + interrupt(sessions, owner, max_attempts)


_IS_EXCUSED = Task.interruptions < bindparam("most")
_INTERRUPT = (
    update(table_of(Task))
    .where(IS_OPEN, Task.state == TaskState.CLAIMED, Task.lease_owner == bindparam("owner"))
    .values(
        state=TaskState.PENDING,
        attempts=case((_IS_EXCUSED, Task.attempts - 1), else_=Task.attempts),
        interruptions=case((_IS_EXCUSED, Task.interruptions + 1), else_=Task.interruptions),
        error_code=Reason.WORKER_LOST.value,
        lease_owner=None,
        lease_until_ms=None,
        not_before_ms=0,
    )
    .returning(table_of(Task).c.id)
)


def interrupt(sessions: sessionmaker[Session], owner: str, most: int) -> int:
    """Put back the tasks of a process that had to end, by no fault of their films; returns how many.

    The attempt is not counted, but for `most` times only: a film that ends all processes of a machine each time must
    come to an end too.
    """
    found = {"owner": owner, "most": most}
    return in_transaction(sessions, lambda session: len(session.scalars(_INTERRUPT, found).all()))
