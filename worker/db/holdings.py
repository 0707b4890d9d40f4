"""What SQL holds of studies that another system has too, and how fetched studies stand behind live ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from worker.db.registry import release_studies
from worker.db.schema import Image, Study, Task
from worker.db.sql import chunks
from worker.db.states import OPEN_TASK_STATES, TaskState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

#: Of fetched studies: live work has 0, a shadow's tasks come after both.
BACKFILL_PRIORITY = 50


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of an object that is on record, and where its original should lie."""

    sop_uid: str
    sop_class_uid: str
    store_key: str
    sha256: str


_STORED = (Image.sop_uid, Image.sop_class_uid, Image.store_key, Image.sha256)


def stored(session: Session, uids: Sequence[str]) -> dict[str, list[Stored]]:
    """What is on record of these SOP Instance UIDs: the versions that count, of one that counts nowhere all of them."""
    counting: dict[str, list[Stored]] = {}
    others: dict[str, list[Stored]] = {}
    for some in chunks(uids):
        rows = session.execute(select(Image.is_current, *_STORED).where(Image.sop_uid.in_(some))).all()
        for is_current, *columns in rows:
            (counting if is_current else others).setdefault(columns[0], []).append(Stored(*columns))
    return others | counting


def originals(session: Session, study_uid: str) -> list[Stored]:
    """The objects of a study that count, whichever patients they name."""
    rows = select(*_STORED).join(Study, Study.id == Image.study_id).where(Study.study_uid == study_uid)
    return [Stored(*row) for row in session.execute(rows.where(Image.is_current)).all()]


def open_live_tasks(session: Session) -> int:
    """How many images wait for their first answer or are being judged."""
    waiting = select(func.count()).where(Task.batch_id.is_(None), Task.state.in_(OPEN_TASK_STATES))
    return session.execute(waiting).scalar_one()


def put_behind(session: Session, study_uid: str) -> None:
    """Let what waits of a study be done after live work."""
    study_ids = select(Study.id).where(Study.study_uid == study_uid)
    session.execute(
        update(Study)
        .where(Study.study_uid == study_uid)
        .values(priority=BACKFILL_PRIORITY)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(Task)
        .where(
            Task.image_id.in_(select(Image.id).where(Image.study_id.in_(study_ids))),
            Task.batch_id.is_(None),
            Task.state == TaskState.PENDING,
            Task.priority < BACKFILL_PRIORITY,
        )
        .values(priority=BACKFILL_PRIORITY)
        .execution_options(synchronize_session=False)
    )


def release(session: Session, study_uid: str) -> None:
    """Let a study count as complete now: the system that sent it has no more of it."""
    release_studies(session, session.scalars(select(Study.id).where(Study.study_uid == study_uid)).all())
