"""Steps 5 and 8 of the flow in SQL: claim a task, keep it, finish it once.

A claim is a lease on the database's clock with a fencing token that counts up with each claim. Whoever comes back
after its lease went to another worker holds an old token: none of its statements finds a row, and nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select, update

from dicom_io.facts import GateFacts
from dicom_io.reasons import Outcome, Reason
from worker.db.answers import lock_study_of_image, recompute
from worker.db.engine import in_transaction
from worker.db.results import ResultRow, Subject, failed_row, record
from worker.db.schema import Batch, Image, Model, Study, Task
from worker.db.sql import fitted, is_claimable
from worker.db.states import TaskState
from worker.db.types import now_ms, now_utc
from worker.db.versions import GATE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session, sessionmaker

__all__ = [
    "Claim",
    "ImageFacts",
    "ResultRow",
    "claim",
    "finish",
    "give_up",
    "image_facts",
    "put_back",
    "renew",
    "retry_later",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image to be judged: where it lies and what the gate looks at, so that no original is needed."""

    image_id: int
    study_id: int
    study_uid: str
    sop_uid: str
    store_key: str
    film_key: str | None
    film_version: int | None
    facts: GateFacts


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that is ours as long as its lease is renewed."""

    task_id: int
    token: int
    owner: str
    attempts: int
    kind: str
    image: ImageFacts
    model_id: int
    #: `name-version` of the bundle.
    model: str
    batch_id: int | None
    keep_current: bool


def claim(sessions: sessionmaker[Session], task_id: int, owner: str, lease_ms: int, max_attempts: int) -> Claim | None:
    """Claim a task by one conditional UPDATE; None when it is done, held, not yet due or out of attempts."""

    def work(session: Session) -> Claim | None:
        token = session.execute(
            update(Task)
            .where(Task.id == task_id, Task.attempts < max_attempts, is_claimable())
            .values(
                state=TaskState.CLAIMED,
                attempts=Task.attempts + 1,
                lease_owner=owner,
                lease_token=Task.lease_token + 1,
                lease_until_ms=now_ms() + lease_ms,
                hinted_at_ms=None,
                hint_count=0,
            )
            .returning(Task.lease_token)
            .execution_options(synchronize_session=False)
        ).scalar_one_or_none()
        return None if token is None else _claimed(session, task_id, token, owner)

    return in_transaction(sessions, work)


def _claimed(session: Session, task_id: int, token: int, owner: str) -> Claim:
    task, image, study_uid, name, version, keep_current = session.execute(
        select(Task, Image, Study.study_uid, Model.name, Model.version, Batch.keep_current)
        .join(Image, Image.id == Task.image_id)
        .join(Study, Study.id == Image.study_id)
        .join(Model, Model.id == Task.model_id)
        .outerjoin(Batch, Batch.id == Task.batch_id)
        .where(Task.id == task_id)
    ).one()
    return Claim(
        task_id,
        token,
        owner,
        task.attempts,
        task.kind,
        image_facts(image, study_uid),
        task.model_id,
        f"{name}-{version}",
        task.batch_id,
        bool(keep_current),
    )


def image_facts(image: Image, study_uid: str) -> ImageFacts:
    """What it takes to judge an image: where it lies, and what the gate looks at."""
    return ImageFacts(
        image.id,
        image.study_id,
        study_uid,
        image.sop_uid,
        image.store_key,
        image.film_key,
        image.film_version,
        GateFacts(**{column: getattr(image, column) for column in GATE_COLUMNS}),
    )


def renew(sessions: sessionmaker[Session], claim: Claim, lease_ms: int) -> bool:
    """Extend the lease from now; False when the task is no longer ours and its work is to be dropped."""

    def work(session: Session) -> bool:
        return _change(session, claim, lease_until_ms=now_ms() + lease_ms)

    return in_transaction(sessions, work)


def finish(sessions: sessionmaker[Session], claim: Claim, row: ResultRow) -> bool:
    """End the task with its result and the study's answer, all or nothing; False when it is no longer ours."""
    state = TaskState.FAILED if row.outcome is Outcome.FAILED else TaskState.DONE
    return _with_study(sessions, claim, lambda session: _end(session, claim, row, state=state))


def retry_later(
    sessions: sessionmaker[Session],
    claim: Claim,
    *,
    error_class: str,
    error_code: str,
    backoff_ms: int,
    max_attempts: int,
) -> bool:
    """Put a failed attempt's task back for later, or end it FAILED after the last; False when it is not ours."""
    error = fitted(Task, {"error_class": error_class, "error_code": str(error_code)})

    def work(session: Session) -> bool:
        if claim.attempts >= max_attempts:
            return _end(session, claim, failed_row(error_code), state=TaskState.FAILED, **error)
        return _change(
            session,
            claim,
            state=TaskState.PENDING,
            not_before_ms=now_ms() + backoff_ms,
            lease_owner=None,
            lease_until_ms=None,
            **error,
        )

    return _with_study(sessions, claim, work)


def put_back(
    sessions: sessionmaker[Session], claim: Claim, *, error_class: str, error_code: str, pause_ms: int
) -> bool:
    """Put a task back for later without charging it the attempt, and say what it waits for; False when it is not ours."""
    error = fitted(Task, {"error_class": error_class, "error_code": str(error_code)})

    def work(session: Session) -> bool:
        return _change(
            session,
            claim,
            state=TaskState.PENDING,
            attempts=claim.attempts - 1,
            not_before_ms=now_ms() + pause_ms,
            lease_owner=None,
            lease_until_ms=None,
            **error,
        )

    return in_transaction(sessions, work)


def give_up(
    sessions: sessionmaker[Session],
    task_ids: Sequence[int],
    owner: str,
    reason: Reason,
    *,
    backoff_ms: int,
    max_attempts: int,
) -> int:
    """Take back what a process that was ended had claimed of these tasks, as a failed attempt; returns how many.

    ``owner`` is the beginning of the names it claimed under. Should it live on, its tokens are good for nothing.
    """
    held = in_transaction(sessions, lambda session: _held(session, task_ids, owner))
    return sum(
        retry_later(
            sessions,
            claim,
            error_class="",
            error_code=reason,
            backoff_ms=backoff_ms * 2 ** (claim.attempts - 1),
            max_attempts=max_attempts,
        )
        for claim in held
    )


def _held(session: Session, task_ids: Sequence[int], owner: str) -> list[Claim]:
    rows = session.execute(
        select(Task.id, Task.lease_token, Task.lease_owner).where(
            Task.id.in_(task_ids), Task.state == TaskState.CLAIMED, Task.lease_owner.startswith(owner, autoescape=True)
        )
    ).all()
    return [_claimed(session, task_id, token, str(name)) for task_id, token, name in rows]


def _with_study(sessions: sessionmaker[Session], claim: Claim, work: Callable[[Session], T]) -> T:
    """Run `work` under the study's lock: two films that finish together must see each other's result."""

    def locked(session: Session) -> T:
        lock_study_of_image(session, claim.image.image_id)
        return work(session)

    return in_transaction(sessions, locked)


def _end(session: Session, claim: Claim, row: ResultRow, **values: object) -> bool:
    ended = _change(session, claim, **values, lease_owner=None, lease_until_ms=None, finished_at=now_utc())
    if ended:
        image = claim.image
        record(session, Subject(claim.task_id, image.image_id, claim.model_id, claim.batch_id, claim.keep_current), row)
        if not claim.keep_current:
            # What never counts changes no answer, be it a shadow's or a re-run's that keeps the current results.
            recompute(session, lock_study_of_image(session, image.image_id).id)
    return ended


def _change(session: Session, claim: Claim, **values: object) -> bool:
    """Change the task's row if the claim still holds it."""
    changed = session.execute(
        update(Task)
        .where(Task.id == claim.task_id, Task.lease_token == claim.token, Task.state == TaskState.CLAIMED)
        .values(**values)
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return changed is not None
