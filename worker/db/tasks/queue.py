"""Step 4 of the flow in SQL: which tasks have failed for good, which studies are complete.

Several dispatchers may run at once: each step is a conditional UPDATE under row locks.
"""

from __future__ import annotations

import functools
import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, Select, TextClause, and_, bindparam, case, or_, select, text, update

from dicom_io.reasons import Reason
from worker.db.answers import inboxes
from worker.db.answers.conditions import has_open_task
from worker.db.answers.recompute import lock_study_of_image, recompute, recompute_all
from worker.db.answers.results import TaskReference, failed, record
from worker.db.schema.sql import IS_OPEN, table_of
from worker.db.schema.states import BatchKind, StudyState, TaskState
from worker.db.schema.study import Batch, Image, Study, Task
from worker.db.schema.types import CLOCK_SLACK_MS, now_ms, now_utc
from worker.db.tasks.ending import CLOSED, is_open_in
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
#: Later than any moment of a study.
_FOR_EVER_MS = 2**62


def fail_lost_tasks(session: Session, max_attempts: int) -> int:
    """End tasks as FAILED whose attempts are used up and whose last one was lost; returns how many.

    Also those that were put back while a larger number of attempts was allowed.
    """
    lost = or_(
        and_(Task.state == TaskState.CLAIMED, Task.lease_until_ms < now_ms()),
        Task.state == TaskState.PENDING,
    )
    found = session.execute(
        select(Task.id, Task.image_id, Image.study_id)
        .join(Image, Image.id == Task.image_id)
        .where(IS_OPEN, Task.attempts >= max_attempts, lost)
        .order_by(Image.study_id, Task.id)
        .limit(_LOST_LIMIT)
    ).all()
    is_lost = and_(Task.attempts >= max_attempts, lost)
    return sum(
        _one_of_many(session, study_id, partial(_fail_lost, session, task_id, image_id, is_lost))
        for task_id, image_id, study_id in found
    )


def _fail_lost(session: Session, task_id: int, image_id: int, still_lost: ColumnElement[bool]) -> bool:
    study_id = lock_study_of_image(session, image_id).id
    before = session.execute(
        select(
            *(Task.state, Task.error_code, Task.image_id, Task.model_id, Task.batch_id, Task.lease_owner),
            Batch.keep_current,
        )
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
    reference = TaskReference(
        *(task_id, before.image_id, before.model_id, before.batch_id), bool(before.keep_current), before.lease_owner
    )
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
    found = session.execute(_settled(), _until(watermarks.live_until_ms, limit)).all()
    changed = _decide_again(session, dict(found), watermarks)
    found = session.execute(_free(), _until(watermarks.silent_until_ms, limit)).all()
    return changed + _decide_again(session, dict(found), watermarks)


def _until(moment_ms: int | None, limit: int) -> dict[str, int]:
    return {"until": _FOR_EVER_MS if moment_ms is None else moment_ms, "most": limit}


# Built once: a dispatcher executes these in each of its turns, and to build them takes longer than to execute them.
@functools.cache
def _settled() -> Select[int, StudyState]:
    """The open studies whose wait is over."""
    return _waiting(
        text("study.state IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"),
        Study.ready_at_ms <= now_ms(),
        or_(Study.state == StudyState.RECEIVING, ~_has_open_work()),
    )


@functools.cache
def _free() -> Select[int, StudyState]:
    """The studies whose answers were withheld because of a silent listener that holds no film of theirs any more."""
    return _waiting(text("study.flags LIKE '%LISTENER_SILENT%'"))


def _waiting(*conditions: ColumnElement[bool] | TextClause) -> Select[int, StudyState]:
    """Studies of which every listener has registered what came until their time, those first that wait longest."""
    return (
        select(Study.id, Study.state)
        .where(*conditions, Study.ready_at_ms <= bindparam("until"))
        .order_by(Study.ready_at_ms)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, key_share=True, of=Study)
    )


def _decide_again(session: Session, candidates: Mapping[int, StudyState], watermarks: Watermarks) -> int:
    if not candidates:
        return 0
    together = partial(_decide_all, session, candidates, watermarks)
    changed = _attempt(session, together, "studies cannot be decided together", action="undecided_together")
    if changed is not None:
        return changed
    # There is one among them whose answer cannot be computed: it is told apart.
    return sum(
        _one_of_many(session, study_id, partial(_decide_one, session, study_id, state, watermarks))
        for study_id, state in candidates.items()
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
    parameters: tuple[dict[str, int], ...] = ({}, {"lease": lease_ms}, {})
    found = (session.execute(*each) for each in zip(_rewinding(), parameters, strict=True))
    return sum(len(rows.all()) for rows in found)


@functools.cache
def _rewinding() -> tuple[Any, ...]:
    clock = now_ms()
    study, task = table_of(Study), table_of(Task)
    ready = case((Study.quiet_ms < Study.max_wait_ms, clock + Study.quiet_ms), else_=clock + Study.max_wait_ms)
    return (
        update(study)
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
        .returning(study.c.id),
        update(task)
        .where(
            IS_OPEN,
            Task.state == TaskState.CLAIMED,
            Task.lease_until_ms > clock + 2 * bindparam("lease", type_=BigInteger) + CLOCK_SLACK_MS,
        )
        .values(lease_until_ms=clock + bindparam("lease", type_=BigInteger))
        .returning(task.c.id),
        update(task)
        .where(IS_OPEN, Task.not_before_ms > clock + LONGEST_BACKOFF_MS)
        .values(not_before_ms=0)
        .returning(task.c.id),
    )


def _has_open_work() -> ColumnElement[bool]:
    return select(Image.id).where(Image.study_id == Study.id, Image.is_current, has_open_task()).exists()


def _close_forgotten_batches(session: Session) -> None:
    long_ago = session.execute(_NOW).scalar_one() - FORGOTTEN_AFTER
    session.execute(_close_forgotten(), {"long_ago": long_ago})


_NOW = select(now_utc())


@functools.cache
def _close_forgotten() -> Any:
    long_ago = bindparam("long_ago", type_=Task.finished_at.type)
    # Asked first, of an index that has open tasks alone: the other question reads all tasks of a batch.
    is_open = select(Task.id).where(*is_open_in(Batch.id)).exists()
    is_recent = select(Task.id).where(Task.batch_id == Batch.id, Task.finished_at > long_ago).exists()
    in_use = case((is_open, True), else_=is_recent)
    batch = table_of(Batch).c
    is_rerun = and_(batch.kind == BatchKind.RERUN, batch.closed_at.is_(None), batch.opening_after_id.is_(None))
    return update(table_of(Batch)).where(is_rerun, batch.created_at < long_ago, ~in_use).values(CLOSED)
