"""Step 3 of the flow in SQL: an object becomes rows for its study, its image and its task.

Any number of registrars may work at once, in any order: the rows that an object may change are locked first,
`placing` decides under those locks from what is on record, and unique keys guard the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import case, select, update

from worker.db.answers import lock_study_of_image, recompute
from worker.db.arrivals import Arrival
from worker.db.placing import Placed, place
from worker.db.rows import clocks, lock_rows
from worker.db.schema import Image, Receipt, Refusal, Study
from worker.db.sql import chunks, fitted, insert_unless_there
from worker.db.states import OPEN_STATES, StudyState
from worker.db.types import now_ms
from worker.db.work import Tasks, insert_tasks, lacked_original, live_task, retry_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from dicom_io.header import Facts
    from dicom_io.journal import RefusalRecord

__all__ = [
    "Registration",
    "add_refusals",
    "is_on_record",
    "push_ready",
    "register",
    "release_studies",
    "restore_original",
]


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of an object."""

    study_id: int
    image_id: int
    #: The live task of the image: of a duplicate the one it has had since it first came.
    task_id: int | None
    is_new_image: bool
    is_duplicate: bool
    revision: int
    #: The task of the shadow model, when the image is new and there is a shadow.
    shadow_task_id: int | None
    #: Where the image's original should lie.
    store_key: str
    #: Whether these bytes were received before and not judged for want of the original.
    lacked_original: bool = False


def register(  # noqa: PLR0913 - one named value each for what an object is, who sent it and how its study waits
    session: Session,
    *,
    facts: Facts,
    sha256: str,
    store_key: str,
    quiet_ms: int,
    max_wait_ms: int,
    pixel_sha256: str = "",
    source: str | None = None,
    received_at: datetime | None = None,
    arrived_ms: int | None = None,
    priority: int = 0,
) -> Registration:
    """Write the rows of one object in the caller's transaction; the same bytes again are only counted.

    `source`: who sent it, by default the AE title in its file meta information; `arrived_ms`: when it was acknowledged,
    on the database's clock, from which its quiet time runs, by default now. The model of its task is the one that is
    active in this very transaction; raises `NoActiveModel` without one.
    """
    clock, moment = clocks(session, facts.sop_uid)
    arrival = Arrival(
        facts=facts,
        sha256=sha256,
        pixel_sha256=pixel_sha256,
        store_key=store_key,
        source=fitted(Receipt, {"source": facts.calling_aet if source is None else source})["source"],
        quiet_ms=quiet_ms,
        max_wait_ms=max_wait_ms,
        priority=priority,
        clock_ms=clock,
        arrived_ms=clock if arrived_ms is None else min(arrived_ms, clock),
        at=received_at or moment,
    )
    locked = lock_rows(session, arrival)
    placed = place(session, arrival, locked)
    study = placed.study
    study.first_rx_at = min(study.first_rx_at, arrival.at)
    study.last_rx_at = max(study.last_rx_at, arrival.at)
    if placed.is_changed and (study.state.is_terminal or placed.is_displacing):
        _begin_revision(study, arrival)
    elif placed.is_changed or not study.state.is_terminal:
        # The same bytes again: a study that still waits goes on waiting, a finished one is left alone.
        _push(study, arrival)
    tasks = _work(session, placed, arrival)
    return _settled(session, placed, arrival, tasks)


def _begin_revision(study: Study, arrival: Arrival) -> None:
    study.revision += 1
    study.revision_at = arrival.at
    study.force_at_ms = arrival.clock_ms + arrival.max_wait_ms
    # Registered late, it may be older than the object that the study waits for.
    study.ready_at_ms = min(max(study.ready_at_ms, arrival.ready_at_ms), study.force_at_ms)
    study.n_expected = None


def _push(study: Study, arrival: Arrival) -> None:
    study.ready_at_ms = min(max(study.ready_at_ms, arrival.ready_at_ms), study.force_at_ms)


def _work(session: Session, placed: Placed, arrival: Arrival) -> Tasks:
    """The tasks of a new image; of known bytes the live task they have had since they first came."""
    if not placed.is_new:
        return Tasks(live_task(session, placed.image_id))
    session.execute(update(Image).where(Image.id == placed.image_id).values(revision=placed.study.revision))
    return insert_tasks(session, placed.study, placed.image_id, arrival.priority)


def _settled(session: Session, placed: Placed, arrival: Arrival, tasks: Tasks) -> Registration:
    """Decide for every row that changed, in the order of their locks."""
    study = placed.study
    session.flush()
    for study_id in placed.left - {study.id}:
        session.execute(
            update(Study)
            .where(Study.id == study_id)
            .values(revision=Study.revision + 1, revision_at=arrival.at, n_expected=None)
            .execution_options(synchronize_session=False)
        )
    changed = placed.left | placed.touched | ({study.id} if placed.is_changed or study.id in placed.touched else set())
    for study_id in sorted(changed):
        recompute(session, study_id)
    of_image = select(Image.store_key).where(Image.id == placed.image_id)
    store_key = None if placed.is_new else session.scalar(of_image)
    return Registration(
        study.id,
        placed.image_id,
        tasks.live_id,
        is_new_image=placed.is_new,
        is_duplicate=not placed.is_new,
        revision=study.revision,
        shadow_task_id=tasks.shadow_id,
        store_key=store_key or arrival.store_key,
        lacked_original=not placed.is_new and lacked_original(session, placed.image_id),
    )


def restore_original(session: Session, image_id: int, store_key: str, key: str) -> int | None:
    """Let an image name the copy of its original that really is in the store, and judge it again if it was not judged.

    `key`: of the arrival. Returns the task that judges it, None where nothing had failed.
    """
    study = lock_study_of_image(session, image_id)
    session.execute(update(Image).where(Image.id == image_id).values(store_key=store_key))
    return retry_failed(session, study, image_id, key)


def is_on_record(session: Session, store_key: str) -> bool:
    """Whether an image names this copy as its original; the copy's own header may be damaged by now."""
    return session.execute(select(Image.id).where(Image.store_key == store_key).limit(1)).first() is not None


def push_ready(session: Session, study_uids: Sequence[str]) -> None:
    """Keep studies of open associations from counting as complete, up to the longest wait."""
    wanted = now_ms() + Study.quiet_ms
    later = case((wanted < Study.force_at_ms, wanted), else_=Study.force_at_ms)
    for some in chunks(study_uids):
        # In the order of ids, as everybody locks studies.
        held = select(Study.id).where(Study.study_uid.in_(some), Study.state.in_(OPEN_STATES)).order_by(Study.id)
        session.execute(held.with_for_update(key_share=True)).all()
        session.execute(
            update(Study)
            .where(Study.study_uid.in_(some), Study.state.in_(OPEN_STATES), Study.ready_at_ms < later)
            .values(
                ready_at_ms=later,
                state=case((Study.state == StudyState.QUEUED, StudyState.RECEIVING.value), else_=Study.state),
            )
            .execution_options(synchronize_session=False)
        )


def release_studies(session: Session, study_ids: Sequence[int]) -> None:
    """Let studies count as complete now: whoever brought their objects says that all of them are there."""
    for some in chunks(study_ids):
        session.execute(
            update(Study)
            .where(Study.id.in_(some), Study.state.in_(OPEN_STATES), Study.ready_at_ms > now_ms())
            .values(ready_at_ms=now_ms())
            .execution_options(synchronize_session=False)
        )


def add_refusals(session: Session, records: Iterable[RefusalRecord]) -> None:
    """Write what was turned away at the door; reading the journal twice adds nothing."""
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
        insert_unless_there(session, Refusal, some, "uid")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
