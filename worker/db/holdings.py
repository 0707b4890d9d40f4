"""What SQL holds of studies that another system has too, and how fetched studies stand behind live ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from worker.db.registry import release_studies
from worker.db.schema import Image, Study, Task
from worker.db.sql import chunks
from worker.db.states import OPEN_TASK_STATES, TERMINAL_STATES, TaskState
from worker.db.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

#: Of fetched studies: live work has 0, a shadow's tasks come after both.
BACKFILL_PRIORITY = 50
#: A source is asked about a study that came within this time; later its archive may have changed it.
ASKED_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of an object that is on record, and where its original should lie."""

    sop_uid: str
    sop_class_uid: str
    store_key: str
    sha256: str


def any_image(session: Session) -> bool:
    """Whether any object was ever put on record."""
    return session.execute(select(Image.id).limit(1)).first() is not None


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


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A finished study whose source nobody has asked yet how many objects it has."""

    study_id: int
    study_uid: str
    revision: int
    #: AE title of the sender of its newest object.
    source: str


def uncounted(session: Session, sources: Sequence[str], limit: int) -> list[Uncounted]:
    """Studies of these sources that ended within the last hour, the newest first."""
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
    """Note how many objects the source says that a study has, unless it is of another revision by now.

    A study that is several patients' rows stays as it is: nobody has counted each.
    """
    sides = select(func.count()).select_from(Study).where(Study.study_uid == study_uid, Study.merged_into_id.is_(None))
    if session.execute(sides).scalar_one() != 1:
        return
    of_study = update(Study).where(Study.study_uid == study_uid, Study.merged_into_id.is_(None))
    asked = of_study if revision is None else of_study.where(Study.revision == revision)
    session.execute(asked.values(n_expected=count).execution_options(synchronize_session=False))


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
