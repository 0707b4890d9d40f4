"""Steps 5 and 8 of the flow in SQL: claim a task, renew the claim, finish the task once.

A claim is a lease on the database's clock with a fencing token that counts up with each claim. A worker that returns
after its task went to another one holds an old token: its statements find no row, and nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import bindparam, select, update

from dicom_io.header.facts import GateFacts
from dicom_io.reasons import Outcome
from worker.db.answers.recompute import lock_study_of_image, recompute
from worker.db.answers.results import Judgement, TaskReference, failed, record
from worker.db.identity.versions import GATE_COLUMNS
from worker.db.schema.engine import in_transaction
from worker.db.schema.sql import IS_OPEN, fitted, is_claimable, table_of
from worker.db.schema.states import TaskState
from worker.db.schema.study import Batch, Image, Model, Study, Task
from worker.db.schema.types import now_ms, now_utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image to be judged: its names in the store and what the gate judges by, so that it needs no original."""

    image_id: int
    study_id: int
    study_uid: str
    sop_uid: str
    store_key: str
    film_key: str | None
    film_version: int | None
    facts: GateFacts
    #: Whether purges took the original, and the film if there was one.
    is_purged: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed task; it belongs to its owner as long as the lease is renewed."""

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


# Built once: each film executes these.
_CLAIM = (
    update(table_of(Task))
    .where(Task.id == bindparam("task"), Task.attempts < bindparam("most"), is_claimable())
    .values(
        state=TaskState.CLAIMED,
        attempts=Task.attempts + 1,
        lease_owner=bindparam("owner"),
        lease_token=Task.lease_token + 1,
        lease_until_ms=now_ms() + bindparam("lease"),
        hinted_at_ms=None,
        hint_count=0,
    )
    .returning(Task.lease_token)
)
_CLAIMED = (
    select(Task, Image, Study.study_uid, Model.name, Model.version, Batch.keep_current)
    .join(Image, Image.id == Task.image_id)
    .join(Study, Study.id == Image.study_id)
    .join(Model, Model.id == Task.model_id)
    .outerjoin(Batch, Batch.id == Task.batch_id)
    .where(Task.id == bindparam("task"))
)


def claim(sessions: sessionmaker[Session], task_id: int, owner: str, lease_ms: int, max_attempts: int) -> Claim | None:
    """Claim a task by one conditional UPDATE; None when it has ended, is held, not due or out of attempts."""

    def work(session: Session) -> Claim | None:
        wanted = {"task": task_id, "most": max_attempts, "owner": owner, "lease": lease_ms}
        token = session.execute(_CLAIM, wanted).scalar_one_or_none()
        return None if token is None else _claimed(session, task_id, token, owner)

    return in_transaction(sessions, work)


def _claimed(session: Session, task_id: int, token: int, owner: str) -> Claim:
    task, image, study_uid, name, version, keep_current = session.execute(_CLAIMED, {"task": task_id}).one()
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
    """The facts of an image that are needed to judge it."""
    return ImageFacts(
        image.id,
        image.study_id,
        study_uid,
        image.sop_uid,
        image.store_key,
        image.film_key,
        image.film_version,
        GateFacts(**{column: getattr(image, column) for column in GATE_COLUMNS}),
        is_purged=image.original_purged_at is not None and (image.film_key is None or image.film_purged_at is not None),
    )


def renew(sessions: sessionmaker[Session], claim: Claim, lease_ms: int) -> bool:
    """Renew the lease from now; False when the claim is lost, and its work with it."""

    def work(session: Session) -> bool:
        return _change(session, claim, lease_until_ms=now_ms() + lease_ms)

    return in_transaction(sessions, work)


def finish(sessions: sessionmaker[Session], claim: Claim, judgement: Judgement) -> bool:
    """End the task with its result and the study's answer in one transaction; False when the claim is lost."""
    state = TaskState.FAILED if judgement.outcome is Outcome.FAILED else TaskState.DONE
    return _with_study(sessions, claim, lambda session, study: _end(session, study, claim, judgement, state=state))


def retry_later(
    sessions: sessionmaker[Session],
    claim: Claim,
    *,
    error_class: str,
    error_code: str,
    backoff_ms: int,
    max_attempts: int,
) -> bool:
    """Put a task back after a failed attempt, or end it FAILED after the last one; False when the claim is lost."""
    error = fitted(Task, {"error_class": error_class, "error_code": str(error_code)})

    def work(session: Session, study: Study) -> bool:
        if claim.attempts >= max_attempts:
            return _end(session, study, claim, failed(error_code), state=TaskState.FAILED, **error)
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
    """Put a task back without counting the attempt, with the error it waits for; False when the claim is lost."""
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


def held_by(session: Session, owner: str) -> list[Claim]:
    """The claims of one owner."""
    rows = session.execute(
        select(Task.id, Task.lease_token).where(IS_OPEN, Task.state == TaskState.CLAIMED, Task.lease_owner == owner)
    ).all()
    return [_claimed(session, task_id, token, owner) for task_id, token in rows]


def _with_study(sessions: sessionmaker[Session], claim: Claim, work: Callable[[Session, Study], T]) -> T:
    """Run `work` under the study's lock, so that two films that finish together see each other's results."""

    def locked(session: Session) -> T:
        return work(session, lock_study_of_image(session, claim.image.image_id))

    return in_transaction(sessions, locked)


def _end(session: Session, study: Study, claim: Claim, judgement: Judgement, **values: object) -> bool:
    ended = _change(session, claim, **values, lease_owner=None, lease_until_ms=None, finished_at=now_utc())
    if ended:
        image = claim.image
        reference = TaskReference(claim.task_id, image.image_id, claim.model_id, claim.batch_id, claim.keep_current)
        record(session, reference, judgement)
        if not claim.keep_current:
            # A result that never counts changes no answer: one of a shadow, or of a re-run that keeps current results.
            recompute(session, study.id)
    return ended


def _change(session: Session, claim: Claim, **values: object) -> bool:
    """Change the row of the task if the claim still holds it."""
    changed = session.execute(
        update(Task)
        .where(Task.id == claim.task_id, Task.lease_token == claim.token, Task.state == TaskState.CLAIMED)
        .values(**values)
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return changed is not None
