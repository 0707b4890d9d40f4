"""Step 3 of the flow in SQL: an object gets rows for its study, its image and its task.

Several registrars may work at once, in any order: the rows that an object may change are locked first, `assignment`
decides under these locks from what is on record, and unique keys guard the rest. `bulk` does so with many
objects, and with few statements for those that nothing on record concerns.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, select, update

from dicom_io.inbox.journal import RefusalKind
from worker.db.answers.recompute import lock_study_of_image, recompute
from worker.db.audit.codes import Act, EventOutcome
from worker.db.audit.record import Actor, event_of, record, record_all
from worker.db.filing.notes import follow_notes, rows_named
from worker.db.identity.assignment import Assignment, assign
from worker.db.identity.priorities import priority_of
from worker.db.identity.rows import begin, lock_rows
from worker.db.schema.sql import chunks, insert_unless_there, table_of
from worker.db.schema.states import OPEN_STATES, StudyState
from worker.db.schema.study import Image, Receipt, Refusal, Study
from worker.db.schema.types import now_ms
from worker.db.tasks.create import (
    ImageTasks,
    insert_tasks,
    lacked_original,
    live_task,
    retry_failed,
    settle_own_result,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from dicom_io.inbox.journal import RefusalRecord
    from worker.db.identity.arrivals import Arrival, Received


@dataclass(frozen=True, slots=True)
class Registration:
    """The rows of an object after its registration."""

    study_id: int
    image_id: int
    #: The live task of the image; a duplicate keeps the one from its first arrival.
    task_id: int | None
    is_new_image: bool
    is_duplicate: bool
    revision: int
    #: The task of the shadow model, when the image is new and there is a shadow.
    shadow_task_id: int | None
    #: The name of the image's original in the store.
    store_key: str
    #: Whether these bytes came before and were not judged because their original was missing.
    lacked_original: bool = False
    #: Whether these bytes came before and a purge took their original.
    is_purged: bool = False


# Built once: each registration executes it.
_SENT_BEFORE = (
    select(Image.id)
    .join(Receipt, Receipt.image_id == Image.id)
    .where(
        Image.study_id == bindparam("row"),
        Image.revision == bindparam("part"),
        Image.id != bindparam("image"),
        Receipt.source == bindparam("sender"),
    )
    .limit(1)
)


def register(session: Session, received: Received) -> Registration:
    """Write the rows of one object in the caller's transaction; bytes that came before are only counted.

    Its task names the model that is active in this transaction; raises `NoActiveModel` without one.
    """
    clock, moment, aliases = begin(session, [received.facts.sop_uid])
    arrival = received.arrival(aliases, clock, moment)
    rejection, policy = received.rejection, received.policy
    locked = lock_rows(session, [arrival], rows_named(session, rejection)).of(arrival.facts.study_uid)
    if arrival.is_own_result:
        arrival = arrival.within(locked.own)
    assignment = assign(session, arrival, locked)
    if not arrival.is_own_result:
        _follow_arrival(assignment, arrival)
    tasks = _tasks_of(session, assignment, arrival)
    if assignment.is_new:
        _audit(session, assignment, arrival)
    session.flush()
    withdrawn = follow_notes(session, arrival, assignment.image_id, rejection, policy)
    return _settled(session, assignment, arrival, tasks, withdrawn)


def _follow_arrival(assignment: Assignment, arrival: Arrival) -> None:
    """Let the study wait for what may follow, as part of a new revision if it was finished.

    A result of our own says nothing new: with it no revision begins, and a study that is open does not wait longer.
    """
    study = assignment.study
    note_arrival(study, arrival)
    if assignment.is_changed and (study.state.is_terminal or assignment.is_displacing):
        begin_revision(study, arrival)
    elif assignment.is_changed or not study.state.is_terminal:
        # The same bytes again: an open study waits for its quiet time from now on, a finished one stays as it is.
        push(study, arrival)


def note_arrival(study: Study, arrival: Arrival) -> None:
    """Let a row say when its first and its last object came."""
    study.first_rx_at = min(study.first_rx_at, arrival.at)
    study.last_rx_at = max(study.last_rx_at, arrival.at)


def begin_revision(study: Study, arrival: Arrival) -> None:
    """Let a row wait for objects again, because what counts in it has changed."""
    study.revision += 1
    study.revision_at = arrival.at
    study.force_at_ms = arrival.clock_ms + arrival.max_wait_ms
    # An object that is registered late may be older than the one that the study waits for.
    study.ready_at_ms = min(max(study.ready_at_ms, arrival.ready_at_ms), study.force_at_ms)
    study.n_expected = None


def push(study: Study, arrival: Arrival) -> None:
    """Let a row wait for its quiet time from this object on."""
    study.ready_at_ms = min(max(study.ready_at_ms, arrival.ready_at_ms), study.force_at_ms)


def _tasks_of(session: Session, assignment: Assignment, arrival: Arrival) -> ImageTasks:
    """Create the tasks of a new image; a known one keeps its live task."""
    if not assignment.is_new:
        return ImageTasks(live_task(session, assignment.image_id))
    study, image_id = assignment.study, assignment.image_id
    if study.revision != assignment.revision:
        session.execute(update(Image).where(Image.id == image_id).values(revision=study.revision))
    if arrival.is_own_result:
        return ImageTasks(settle_own_result(session, study, image_id))
    return insert_tasks(session, study, image_id, task_priority(study, arrival), has_versions=assignment.has_versions)


def task_priority(study: Study, arrival: Arrival) -> int:
    """The priority of a new object's live task; the columns of the row have followed the object."""
    return arrival.priority or priority_of(study.requested_priority)


def _audit(session: Session, assignment: Assignment, arrival: Arrival) -> None:
    """Record that a source sends to a study: one event for each revision and source, at its first new object."""
    study = assignment.study
    sent = {"row": study.id, "part": study.revision, "image": assignment.image_id, "sender": arrival.source}
    if session.execute(_SENT_BEFORE, sent).first() is None:
        record_all(session, [sending(study, arrival)])


def sending(study: Study, arrival: Arrival) -> dict[str, Any]:
    """The audit event that a source sends to a study."""
    # The listener writes the address as a URI, dicom://10.0.0.1, which Source Presentation Address asks for.
    address = arrival.facts.peer.rpartition("://")[2]
    return event_of(
        Act.STUDY_RECEIVED if arrival.source else Act.STUDY_INGESTED,
        Actor(arrival.source, address) if arrival.source else Actor.user(),
        study_uid=study.study_uid,
        side=study.side,
        patient_key=arrival.named.key,
        sop_uid=arrival.facts.sop_uid,
        detail={"revision": study.revision, "sop_class": arrival.facts.sop_class_uid, **_shown_certificate(arrival)},
    )


def _shown_certificate(arrival: Arrival) -> dict[str, str]:
    """The certificate that the sender has shown, for the audit trail; nothing without TLS."""
    return {"certificate": arrival.facts.certificate} if arrival.facts.certificate else {}


def _settled(
    session: Session, assignment: Assignment, arrival: Arrival, tasks: ImageTasks, withdrawn: set[int]
) -> Registration:
    """Compute the answer of each row that changed, in the order of their locks; `withdrawn`: rows by their notes."""
    study = assignment.study
    for study_id in sorted((assignment.left | withdrawn) - {study.id}):
        session.execute(
            update(Study)
            .where(Study.id == study_id)
            .values(revision=Study.revision + 1, revision_at=arrival.at, n_expected=None)
            .execution_options(synchronize_session=False)
        )
    changed = (
        assignment.left
        | assignment.touched
        | withdrawn
        | ({study.id} if assignment.is_changed or study.id in assignment.touched else set())
    )
    for study_id in sorted(changed):
        recompute(session, study_id)
    store_key, purged_at = arrival.store_key, None
    if not assignment.is_new:
        of_image = select(Image.store_key, Image.original_purged_at).where(Image.id == assignment.image_id)
        store_key, purged_at = session.execute(of_image).one()
    return Registration(
        study.id,
        assignment.image_id,
        tasks.live_id,
        is_new_image=assignment.is_new,
        is_duplicate=not assignment.is_new,
        revision=study.revision,
        shadow_task_id=tasks.shadow_id,
        store_key=store_key,
        lacked_original=not assignment.is_new and lacked_original(session, assignment.image_id),
        is_purged=purged_at is not None,
    )


def restore_original(session: Session, image_id: int, store_key: str, key: str) -> int | None:
    """Let an image name the copy of its original that is in the store, and create a task if it had failed.

    `key`: of the arrival. Returns the id of the task, None where the image had not failed.
    """
    study = lock_study_of_image(session, image_id)
    restored = update(Image).where(Image.id == image_id).values(store_key=store_key, original_purged_at=None)
    session.execute(restored.execution_options(synchronize_session=False))
    return retry_failed(session, study, image_id, key)


def is_on_record(session: Session, store_key: str) -> bool:
    """Whether an image names this copy as its original; the header of the copy is not read, as it may be damaged."""
    return session.execute(select(Image.id).where(Image.store_key == store_key).limit(1)).first() is not None


def push_ready(session: Session, study_uids: Sequence[str]) -> None:
    """Prolong the quiet time of studies with open associations, up to their longest wait."""
    held, pushed = _pushing()
    for some in chunks(study_uids):
        session.execute(held, {"uids": list(some)}).all()
        session.execute(pushed, {"uids": list(some)})


@functools.cache
def _pushing() -> tuple[Any, Any]:
    """Built once: the registrar executes both while associations are open."""
    study = table_of(Study)
    wanted = now_ms() + Study.quiet_ms
    later = case((wanted < Study.force_at_ms, wanted), else_=Study.force_at_ms)
    # In the order of ids, as all code locks studies.
    is_open = (Study.study_uid.in_(bindparam("uids", expanding=True)), Study.state.in_(OPEN_STATES))
    held = select(Study.id).where(*is_open).order_by(Study.id).with_for_update(key_share=True)
    pushed = (
        update(study)
        .where(*is_open, Study.ready_at_ms < later)
        .values(
            ready_at_ms=later,
            state=case((Study.state == StudyState.QUEUED, StudyState.RECEIVING.value), else_=Study.state),
        )
    )
    return held, pushed


def release_studies(session: Session, study_ids: Sequence[int], after_ms: int = 0) -> None:
    """Let studies count as complete now, because their source says that all objects are there; or `after_ms` from now."""
    ready = now_ms() + after_ms
    for some in chunks(study_ids):
        session.execute(
            update(Study)
            .where(Study.id.in_(some), Study.state.in_(OPEN_STATES), Study.ready_at_ms > ready)
            .values(ready_at_ms=ready)
            .execution_options(synchronize_session=False)
        )


def add_refusals(session: Session, records: Iterable[RefusalRecord]) -> None:
    """Add the refusals of a listener's journal, each with its audit event; reading the journal twice adds nothing."""
    rows = [
        {
            "uid": record.uid,
            "at": _moment(record.at),
            "kind": str(record.kind),
            "reason_code": str(record.reason),
            "calling_aet": record.calling_aet,
            "called_aet": record.called_aet,
            "peer": record.peer,
            "study_uid": record.study_uid,
            "sop_uid": record.sop_uid,
            "times": record.count,
        }
        for record in records
    ]
    for some in chunks(rows):
        new = insert_unless_there(session, Refusal, some, "uid")
        for row in some:
            if row["uid"] in new:
                _audit_refusal(session, row)


def _audit_refusal(session: Session, row: dict[str, Any]) -> None:
    record(
        session,
        Act.ASSOCIATION_REFUSED if row["kind"] == RefusalKind.ASSOCIATION else Act.OBJECT_REFUSED,
        Actor(row["calling_aet"], row["peer"]),
        outcome=EventOutcome.MINOR_FAILURE,
        study_uid=row["study_uid"],
        sop_uid=row["sop_uid"],
        detail={
            "reason": row["reason_code"],
            "called_aet": row["called_aet"],
            "times": row["times"],
            "at": row["at"].isoformat(),
        },
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
