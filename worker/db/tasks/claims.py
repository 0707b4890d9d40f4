"""Steps 5 and 8 of the flow in SQL: claim a task, renew the claim, finish the task once.

A claim is a lease on the database's clock with a fencing token that counts up with each claim. A worker that returns
after its task went to another one holds an old token: its statements find no row, and nothing is written.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, bindparam, select, tuple_, union_all, update

from dicom_io.header.facts import GateFacts
from dicom_io.reasons import Outcome
from worker.db.answers.recompute import lock_studies_of_images, recompute_locked, studies_of_images
from worker.db.answers.results import Judgement, TaskReference, failed, record_all
from worker.db.identity.versions import GATE_COLUMNS
from worker.db.schema.engine import in_transaction
from worker.db.schema.sql import IS_OPEN, fitted, is_claimable, table_of
from worker.db.schema.states import TaskState
from worker.db.schema.study import Batch, Image, Model, Study, Task
from worker.db.schema.types import now_ms, now_utc
from worker.db.tasks.due import is_due

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Row
    from sqlalchemy.orm import Session, sessionmaker

    from worker.db.tasks.due import Lane
    from worker.db.tasks.workers import ProcessRow


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


# Built once: each film executes these. Of the tables' columns: those of the entities make the ORM look through the whole
# statement at each execution.
_TASK, _IMAGE, _BATCH = table_of(Task).c, table_of(Image).c, table_of(Batch).c
_CLAIM: dict[str, Any] = {
    "state": TaskState.CLAIMED,
    "attempts": _TASK.attempts + 1,
    "lease_owner": bindparam("owner"),
    "lease_token": _TASK.lease_token + 1,
    "lease_until_ms": now_ms() + bindparam("lease"),
    "claimed_at_ms": now_ms(),
}
_IS_LEFT = _TASK.attempts < bindparam("attempts_allowed")
_CLAIM_NAMED = (
    update(table_of(Task))
    .where(_TASK.id.in_(bindparam("tasks", expanding=True)), _IS_LEFT, is_claimable())
    .values(_CLAIM)
    .returning(_TASK.id)
)
# What is used of them alone: to make whole entities takes longer than the claim.
_CLAIMED = (
    select(
        *(_TASK.id.label("task_id"), _TASK.lease_token, _TASK.attempts, _TASK.kind, _TASK.model_id, _TASK.batch_id),
        *(_IMAGE.id, _IMAGE.study_id, _IMAGE.sop_uid, _IMAGE.store_key, _IMAGE.film_key, _IMAGE.film_version),
        *(_IMAGE.original_purged_at, _IMAGE.film_purged_at, *(_IMAGE[column] for column in GATE_COLUMNS)),
        *(table_of(Study).c.study_uid, table_of(Model).c.name, table_of(Model).c.version, _BATCH.keep_current),
    )
    .join_from(table_of(Task), table_of(Image), _IMAGE.id == _TASK.image_id)
    .join(table_of(Study), table_of(Study).c.id == _IMAGE.study_id)
    .join(table_of(Model), table_of(Model).c.id == _TASK.model_id)
    .outerjoin(table_of(Batch), _BATCH.id == _TASK.batch_id)
    .where(_TASK.id.in_(bindparam("tasks", expanding=True)))
    .order_by(_TASK.priority, _TASK.id)
)


@functools.cache
def _claim_due(lane: Lane) -> Any:
    """Claim so many of the most urgent tasks of a lane, and so many of its oldest ones; those in other hands are left out."""
    due = select(_TASK.id).where(is_due(lane), _IS_LEFT)
    urgent = (
        due.order_by(_TASK.priority, _TASK.id)
        # Written into the statement: a plan for any number would read all tasks that wait.
        .limit(bindparam("urgent", type_=Integer, literal_execute=True))
        .with_for_update(skip_locked=True)
        .cte("urgent")
    )
    oldest = (
        due.where(_TASK.id.not_in(select(urgent.c.id)))
        .order_by(_TASK.id)
        .limit(bindparam("oldest", type_=Integer, literal_execute=True))
        .with_for_update(skip_locked=True)
        .cte("oldest")
    )
    chosen = union_all(select(urgent.c.id), select(oldest.c.id))
    return update(table_of(Task)).where(_TASK.id.in_(chosen)).values(_CLAIM).returning(_TASK.id)


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims tasks, for how long, and how often a task may be claimed; `lease_ms` on the database's clock."""

    owner: str
    lease_ms: int
    max_attempts: int
    #: Goes on record with the first claim, so that results can name it.
    process: ProcessRow | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the statements."""
        return {"owner": self.owner, "lease": self.lease_ms, "attempts_allowed": self.max_attempts}


def claim(sessions: sessionmaker[Session], task_ids: Collection[int], claimant: Claimant) -> list[Claim]:
    """Claim these tasks, without those that have ended, are held, not due or out of attempts; the most urgent first."""
    return _claim(sessions, _CLAIM_NAMED, claimant, tasks=list(task_ids))


def claim_due(
    sessions: sessionmaker[Session], lane: Lane, claimant: Claimant, *, urgent: int, oldest: int
) -> list[Claim]:
    """Claim tasks of a lane that are due: so many of the most urgent ones, and so many of the oldest other ones."""
    return _claim(sessions, _claim_due(lane), claimant, urgent=urgent, oldest=oldest)


def _claim(sessions: sessionmaker[Session], statement: Any, claimant: Claimant, **asked: object) -> list[Claim]:
    process = claimant.process

    def work(session: Session) -> list[Claim]:
        found = session.scalars(statement, claimant.parameters | asked).all()
        if found and process:
            process.add(session)
        return _claims(session, found, claimant.owner)

    # A power cut ends who claims, and so the claim.
    held = in_transaction(sessions, work, is_synced=False)
    if held and process:
        process.added()
    return held


def _claims(session: Session, task_ids: Collection[int], owner: str) -> list[Claim]:
    """The claims of tasks that this transaction has claimed, or found claimed by this owner."""
    if not task_ids:
        return []
    rows = session.execute(_CLAIMED, {"tasks": list(task_ids)}).all()
    return [
        Claim(
            row.task_id,
            row.lease_token,
            owner,
            row.attempts,
            row.kind,
            image_facts(row, row.study_uid),
            row.model_id,
            f"{row.name}-{row.version}",
            row.batch_id,
            bool(row.keep_current),
        )
        for row in rows
    ]


def image_facts(image: Image | Row[*tuple[Any, ...]], study_uid: str) -> ImageFacts:
    """The facts of an image that are needed to judge it, of its entity or of a row with its columns."""
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


def _changing(**values: Any) -> Any:
    """A statement that changes the rows of tasks whose claims still hold them, and gives their ids."""
    is_held = tuple_(_TASK.id, _TASK.lease_token).in_(bindparam("held", expanding=True))
    return update(table_of(Task)).where(is_held, _TASK.state == TaskState.CLAIMED).values(values).returning(_TASK.id)


def _change(session: Session, statement: Any, held: Iterable[Claim], **parameters: object) -> set[int]:
    return set(session.scalars(statement, {"held": [(one.task_id, one.token) for one in held], **parameters}))


_NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_until_ms": None}
_ERROR: dict[str, Any] = {"error_class": bindparam("of_class"), "error_code": bindparam("of_code")}
_LATER = {"state": TaskState.PENDING, "not_before_ms": now_ms() + bindparam("pause"), **_NO_LEASE, **_ERROR}
_RENEW = _changing(lease_until_ms=now_ms() + bindparam("lease"))
_END = _changing(state=bindparam("end"), finished_at=now_utc(), **_NO_LEASE)
_NOTE_ERROR = update(table_of(Task)).where(_TASK.id.in_(bindparam("tasks", expanding=True))).values(_ERROR)
_RETRY = _changing(**_LATER)
_PUT_BACK = _changing(**_LATER, attempts=_TASK.attempts - 1)
_LEAVE = _changing(state=TaskState.PENDING, attempts=_TASK.attempts - 1, **_NO_LEASE)


def renew(sessions: sessionmaker[Session], held: Sequence[Claim], lease_ms: int) -> set[int]:
    """Renew leases from now; the tasks that are still held. The claims of others are lost, and their work with them."""
    return in_transaction(sessions, lambda session: _change(session, _RENEW, held, lease=lease_ms), is_synced=False)


def finish(sessions: sessionmaker[Session], judged: Sequence[tuple[Claim, Judgement]]) -> set[int]:
    """End tasks with their results and the answers of their studies in one transaction; the tasks that were still held."""

    def work(session: Session) -> set[int]:
        # So that two films that finish together see each other's results.
        studies = lock_studies_of_images(session, {claim.image.image_id for claim, _ in judged})
        return _end(session, judged, studies)

    return in_transaction(sessions, work)


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
    error = _error(error_class, error_code)

    def work(session: Session) -> bool:
        studies = lock_studies_of_images(session, {claim.image.image_id})
        if claim.attempts < max_attempts:
            return bool(_change(session, _RETRY, [claim], pause=backoff_ms, **error))
        ended = _end(session, [(claim, failed(error_code))], studies)
        if ended:
            session.execute(_NOTE_ERROR, {"tasks": list(ended), **error})
        return bool(ended)

    return in_transaction(sessions, work)


def put_back(
    sessions: sessionmaker[Session], claim: Claim, *, error_class: str, error_code: str, pause_ms: int
) -> bool:
    """Put a task back without counting the attempt, with the error it waits for; False when the claim is lost."""
    error = _error(error_class, error_code)
    return bool(in_transaction(sessions, lambda session: _change(session, _PUT_BACK, [claim], pause=pause_ms, **error)))


def leave(sessions: sessionmaker[Session], held: Sequence[Claim]) -> None:
    """Put tasks back that were not begun, as if they had not been claimed."""
    in_transaction(sessions, lambda session: _change(session, _LEAVE, held), is_synced=False)


def _error(error_class: str, error_code: str) -> dict[str, str]:
    kept = fitted(Task, {"error_class": error_class, "error_code": str(error_code)})
    return {"of_class": kept["error_class"], "of_code": kept["error_code"]}


def held_by(session: Session, owner: str) -> list[Claim]:
    """The claims of one owner."""
    held = select(Task.id).where(IS_OPEN, Task.state == TaskState.CLAIMED, Task.lease_owner == owner)
    return _claims(session, session.scalars(held).all(), owner)


def _end(session: Session, judged: Sequence[tuple[Claim, Judgement]], studies: Sequence[Study]) -> set[int]:
    """End the tasks that are still held; `studies`: theirs, which the caller has locked."""
    ended: set[int] = set()
    for state in (TaskState.DONE, TaskState.FAILED):
        some = [claim for claim, judgement in judged if _end_of(judgement) is state]
        if some:
            ended |= _change(session, _END, some, end=state)
    found = [(claim, judgement) for claim, judgement in judged if claim.task_id in ended]
    if found:
        record_all(session, [(_reference(claim), judgement) for claim, judgement in found])
    # A result that never counts changes no answer: one of a shadow, or of a re-run that keeps current results.
    counting = {claim.image.image_id for claim, _ in found if not claim.keep_current}
    if counting:
        changed = None if len(counting) == len(judged) else studies_of_images(session, counting)
        # To record results has held the models.
        recompute_locked(session, [study for study in studies if changed is None or study.id in changed])
    return ended


def _end_of(judgement: Judgement) -> TaskState:
    return TaskState.FAILED if judgement.outcome is Outcome.FAILED else TaskState.DONE


def _reference(claim: Claim) -> TaskReference:
    return TaskReference(
        claim.task_id, claim.image.image_id, claim.model_id, claim.batch_id, claim.keep_current, claim.owner
    )
