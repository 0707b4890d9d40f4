"""What SQL holds of studies that another system has too, and the priority of fetched studies after live ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from worker.db.filing.registry import release_studies
from worker.db.schema.sql import chunks
from worker.db.schema.states import OPEN_TASK_STATES, TERMINAL_STATES, TaskState
from worker.db.schema.study import Image, Study, Task
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

#: Priority of fetched studies; live work has 0, the tasks of the shadow come after both.
BACKFILL_PRIORITY = 50
#: A source is asked about studies that came within this time; later its archive may have changed them.
ASKED_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RecordedObject:
    """A version of an object on record, and the name of its original in the store."""

    sop_uid: str
    sop_class_uid: str
    store_key: str
    sha256: str
    image_id: int


def any_image(session: Session) -> bool:
    """Whether any object is on record."""
    return session.execute(select(Image.id).limit(1)).first() is not None


_STORED = (Image.sop_uid, Image.sop_class_uid, Image.store_key, Image.sha256, Image.id)


def stored(session: Session, uids: Sequence[str]) -> dict[str, list[RecordedObject]]:
    """The versions that count, by SOP Instance UID; all versions of an object that counts nowhere."""
    counting: dict[str, list[RecordedObject]] = {}
    others: dict[str, list[RecordedObject]] = {}
    for some in chunks(uids):
        rows = session.execute(select(Image.is_current, *_STORED).where(Image.sop_uid.in_(some))).all()
        for row in rows:
            found = RecordedObject(*row[1:])
            (counting if row[0] else others).setdefault(found.sop_uid, []).append(found)
    return others | counting


def originals(session: Session, study_uid: str) -> list[RecordedObject]:
    """The objects of a study that count, of all its patients."""
    rows = select(*_STORED).join(Study, Study.id == Image.study_id).where(Study.study_uid == study_uid)
    return [RecordedObject(*row) for row in session.execute(rows.where(Image.is_current)).all()]


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A finished study whose source was not asked yet how many objects it has."""

    study_id: int
    study_uid: str
    revision: int
    #: AE title of the sender of its newest object.
    source: str


def uncounted(session: Session, sources: Sequence[str], limit: int) -> list[Uncounted]:
    """Finished studies of these sources that came within the last hour, the newest first."""
    since = session.execute(select(now_utc())).scalar_one() - ASKED_WITHIN
    of_study = select(func.max(Image.id)).where(Image.study_id == Study.id, Image.is_current)
    newest = of_study.correlate(Study).scalar_subquery()
    rows = session.execute(
        select(Study.id, Study.study_uid, Study.revision, Image.calling_aet)
        .join(Image, Image.id == newest)
        .where(
            Study.first_rx_at >= since,
            Study.n_expected.is_(None),
            Study.state.in_(TERMINAL_STATES),
            Study.merged_into_id.is_(None),
            Image.calling_aet.in_(sources),
        )
        .order_by(Study.first_rx_at.desc())
        .limit(limit)
    ).all()
    return [Uncounted(*row) for row in rows]


def note_expected(session: Session, study_uid: str, count: int, revision: int | None = None) -> None:
    """Record how many objects the source has of a study; nothing where the study has another revision by now.

    A study with several rows stays as it is, because the source does not count for each patient.
    """
    sides = select(func.count()).select_from(Study).where(Study.study_uid == study_uid, Study.merged_into_id.is_(None))
    if session.execute(sides).scalar_one() != 1:
        return
    of_study = update(Study).where(Study.study_uid == study_uid, Study.merged_into_id.is_(None))
    asked = of_study if revision is None else of_study.where(Study.revision == revision)
    session.execute(asked.values(n_expected=count).execution_options(synchronize_session=False))


def open_live_tasks(session: Session) -> int:
    """The number of open live tasks."""
    waiting = select(func.count()).where(Task.batch_id.is_(None), Task.state.in_(OPEN_TASK_STATES))
    return session.execute(waiting).scalar_one()


def put_behind(session: Session, study_uid: str) -> None:
    """Give a study and its waiting tasks the priority of fetched studies: after live work."""
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
    """Let a study count as complete now, because its source has no more of it."""
    release_studies(session, session.scalars(select(Study.id).where(Study.study_uid == study_uid)).all())
