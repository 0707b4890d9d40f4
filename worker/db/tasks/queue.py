"""Step 4 of the flow in SQL: which tasks have failed for good, which studies are complete.

Several dispatchers may run at once: each step is a conditional UPDATE under row locks.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, case, or_, select, text, update

from dicom_io.reasons import Reason
from worker.db.answers import inboxes
from worker.db.answers.recompute import has_open_task, lock_study_of_image, recompute, recompute_all
from worker.db.answers.results import TaskReference, failed, record
from worker.db.schema.sql import IS_OPEN
from worker.db.schema.states import BatchKind, StudyState, TaskState
from worker.db.schema.study import Batch, Image, Study, Task
from worker.db.schema.types import CLOCK_SLACK_MS, now_ms, now_utc
from worker.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.orm import Session

    from worker.db.answers.inboxes import Watermarks

logger = logging.getLogger(__name__)

_LOST_LIMIT = 500
#: The longest wait between two attempts.
LONGEST_BACKOFF_MS = 900_000
#: The command that watches a batch closes it; until then the same command would resume it.
FORGOTTEN_AFTER = timedelta(hours=1)


def fail_lost_tasks(session: Session, max_attempts: int) -> int:
    """End tasks as FAILED whose attempts are used up and whose last one was lost; returns how many.

    Also those that were put back while a larger number of attempts was allowed.
    """
    lost = or_(
        and_(Task.state == TaskState.CLAIMED, Task.lease_until_ms < now_ms()),
        Task.state == TaskState.PENDING,
    )
    found = session.execute(
        select(Task.id, Task.image_id)
        .join(Image, Image.id == Task.image_id)
        .where(IS_OPEN, Task.attempts >= max_attempts, lost)
        .order_by(Image.study_id, Task.id)
        .limit(_LOST_LIMIT)
    ).all()
    is_lost = and_(Task.attempts >= max_attempts, lost)
    return sum(
        _one_of_many(session, image_id, partial(_fail_lost, session, task_id, image_id, is_lost))
        for task_id, image_id in found
    )


def _fail_lost(session: Session, task_id: int, image_id: int, still_lost: ColumnElement[bool]) -> bool:
    study_id = lock_study_of_image(session, image_id).id
    before = session.execute(
        select(Task.state, Task.error_code, Task.image_id, Task.model_id, Task.batch_id, Batch.keep_current)
        .outerjoin(Batch, Batch.id == Task.batch_id)
        .where(Task.id == task_id)
    ).one()
    ended = session.execute(
        update(Task)
        .where(Task.id == task_id, still_lost)
        .values(state=TaskState.FAILED, lease_owner=None, lease_until_ms=None, finished_at=now_utc())
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if ended is None:
        return False
    code = Reason.WORKER_LOST if before.state is TaskState.CLAIMED else before.error_code
    reference = TaskReference(task_id, before.image_id, before.model_id, before.batch_id, bool(before.keep_current))
    record(session, reference, failed(code or Reason.WORKER_LOST))
    if not reference.keep_current:
        recompute(session, study_id)
    return True


def settle_studies(session: Session, limit: int) -> int:
    """Compute the answers of open studies whose quiet or longest wait has passed; returns how many changed their state.

    A study waits until every live listener has registered what it acknowledged until then. A study with open tasks is
    computed once, when it stops receiving; later the ends of these tasks compute it. Answers withheld because of a
    silent listener are computed again once no silent listener can hold a film of theirs. Re-runs that ended more than
    an hour ago without being closed by their command are closed as well.
    """
    _close_forgotten_batches(session)
    watermarks = inboxes.watermarks(session)
    is_settled = and_(
        text("study.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"),
        Study.ready_at_ms <= now_ms(),
        or_(Study.state == StudyState.RECEIVING, ~_has_open_work()),
    )
    if watermarks.live_until_ms is not None:
        is_settled = and_(is_settled, Study.ready_at_ms <= watermarks.live_until_ms)
    changed = _decide_again(session, is_settled, limit, watermarks)
    is_free: ColumnElement[bool] = and_(text("study.flags LIKE '%LISTENER_SILENT%'"))
    if watermarks.silent_until_ms is not None:
        is_free = and_(is_free, Study.ready_at_ms <= watermarks.silent_until_ms)
    return changed + _decide_again(session, is_free, limit, watermarks)


def _decide_again(session: Session, which: ColumnElement[bool], limit: int, watermarks: Watermarks) -> int:
    candidates = session.execute(
        select(Study.id, Study.state)
        .where(which)
        .order_by(Study.ready_at_ms)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True, of=Study)
    ).all()

    if not candidates:
        return 0
    together = partial(_decide_all, session, dict(candidates), watermarks)
    changed = _attempt(session, together, "studies cannot be decided together", action="undecided_together")
    if changed is not None:
        return changed
    # There is one among them whose answer cannot be computed: it is told apart.
    return sum(
        _one_of_many(session, study_id, partial(_decide_one, session, study_id, state, watermarks))
        for study_id, state in candidates
    )


def _decide_all(session: Session, before: Mapping[int, StudyState], watermarks: Watermarks) -> int:
    answers = recompute_all(session, list(before), watermarks, is_settling=True)
    return sum(answers[study_id].state is not state for study_id, state in before.items())


def _decide_one(session: Session, study_id: int, before: StudyState, watermarks: Watermarks) -> bool:
    return _decide_all(session, {study_id: before}, watermarks) > 0


def _one_of_many(session: Session, study_id: int, work: Callable[[], bool]) -> bool:
    """Work on one study: one whose answer cannot be computed must not hold up the others."""
    said = "a study cannot be decided, it stays as it is"
    return bool(_attempt(session, work, said, action="undecided", study=study_id))


def _attempt(session: Session, work: Callable[[], int], sentence: str, **about: object) -> int | None:
    """Work in a savepoint; None, and a line in the log, where it fails for another reason than that the database is away."""
    try:
        with session.begin_nested():
            return work()
    except DatabaseUnavailable:
        raise
    except Exception:
        logger.exception(sentence, extra=about)
        return None


def rewind(session: Session, lease_ms: int) -> int:
    """Correct moments that lie too far ahead; returns how many rows had one.

    They were written before the database's clock was set back, and would hold up tasks and studies for as long.
    """
    clock = now_ms()
    ready = case((Study.quiet_ms < Study.max_wait_ms, clock + Study.quiet_ms), else_=clock + Study.max_wait_ms)
    statements = (
        update(Study)
        .where(
            text("study.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"),
            or_(
                Study.ready_at_ms > ready + CLOCK_SLACK_MS,
                Study.force_at_ms > clock + Study.max_wait_ms + CLOCK_SLACK_MS,
            ),
        )
        .values(
            ready_at_ms=case((Study.ready_at_ms < ready, Study.ready_at_ms), else_=ready),
            force_at_ms=clock + Study.max_wait_ms,
        )
        .returning(Study.id),
        update(Task)
        .where(IS_OPEN, Task.state == TaskState.CLAIMED, Task.lease_until_ms > clock + 2 * lease_ms + CLOCK_SLACK_MS)
        .values(lease_until_ms=clock + lease_ms)
        .returning(Task.id),
        update(Task)
        .where(IS_OPEN, Task.not_before_ms > clock + LONGEST_BACKOFF_MS)
        .values(not_before_ms=0)
        .returning(Task.id),
    )
    found = (session.execute(each.execution_options(synchronize_session=False)) for each in statements)
    return sum(len(rows.all()) for rows in found)


def _has_open_work() -> ColumnElement[bool]:
    return select(Image.id).where(Image.study_id == Study.id, Image.is_current, has_open_task()).exists()


def _close_forgotten_batches(session: Session) -> None:
    long_ago = session.execute(select(now_utc())).scalar_one() - FORGOTTEN_AFTER
    is_recent = or_(Task.finished_at.is_(None), Task.finished_at > long_ago)
    in_use = select(Task.id).where(Task.batch_id == Batch.id, is_recent).exists()
    session.execute(
        update(Batch)
        .where(Batch.kind == BatchKind.RERUN, Batch.closed_at.is_(None), Batch.created_at < long_ago, ~in_use)
        .values(closed_at=now_utc())
        .execution_options(synchronize_session=False)
    )
