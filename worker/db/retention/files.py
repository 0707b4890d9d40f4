"""Originals and films in SQL: which may go, their mark, and what is left to remove.

A file goes in three steps: its image is marked and a `removal` written in one transaction; the file is removed; the
`removal` is deleted. A crash in between leaves a file that the next purge removes, never a row without a mark whose file
is gone. Films are named by their pixels, so one file may be the film of several images: it goes with the last of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from worker.db.audit.codes import Act
from worker.db.audit.record import record
from worker.db.retention.conditions import is_held, kept_because, may_go
from worker.db.retention.rules import Kept
from worker.db.schema.sql import chunks, insert_unless_there
from worker.db.schema.states import HeldFile
from worker.db.schema.study import Delivery, Image, Removal, Study
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from worker.db.audit.record import Actor
    from worker.db.retention.rules import FileRule

_UNSYNCED: dict[str, Any] = {"synchronize_session": False}
_KEYS = {HeldFile.ORIGINAL: Image.store_key, HeldFile.FILM: Image.film_key}
_MARKS = {HeldFile.ORIGINAL: Image.original_purged_at, HeldFile.FILM: Image.film_purged_at}


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the order of studies, oldest first, a purge has come to."""

    last_rx_at: datetime
    study_id: int


@dataclass(frozen=True, slots=True)
class FileToRemove:
    """A file that is marked as purged and not removed yet."""

    removal_id: int
    purge_id: int
    kind: HeldFile
    key: str


@dataclass(frozen=True, slots=True)
class MarkedStudy:
    """A study from which a purge takes files."""

    study_id: int
    study_uid: str
    side: int
    patient_key: str
    files: int


def clock(session: Session) -> datetime:
    """The database's clock."""
    return session.execute(select(now_utc())).scalar_one()


def oldest(
    session: Session, kind: HeldFile, rule: FileRule, now: datetime, after: Position | None, limit: int
) -> list[Position]:
    """The next studies with a file that may go, oldest first."""
    order = (Study.last_rx_at, Study.id)
    wanted = (
        select(*order)
        .select_from(Study)
        .join(Image, Image.study_id == Study.id)
        .where(may_go(kind, rule, now))
        .group_by(*order)
    )
    if after is not None:
        later = or_(
            Study.last_rx_at > after.last_rx_at,
            and_(Study.last_rx_at == after.last_rx_at, Study.id > after.study_id),
        )
        wanted = wanted.where(later)
    return [Position(*row) for row in session.execute(wanted.order_by(*order).limit(limit))]


def count_studies(session: Session, kind: HeldFile, rule: FileRule, now: datetime) -> int:
    """How many studies have a file that may go."""
    counted = select(func.count(Study.id.distinct())).select_from(Study).join(Image, Image.study_id == Study.id)
    return session.execute(counted.where(may_go(kind, rule, now))).scalar_one()


def kept(session: Session, kind: HeldFile, rule: FileRule, now: datetime) -> Counter[Kept]:
    """How many files stay, by the reason."""
    reason = kept_because(kind, rule, now)
    rows = session.execute(
        select(reason, func.count())
        .select_from(Image)
        .join(Study, Study.id == Image.study_id)
        .where(is_held(kind))
        .group_by(reason)
    ).all()
    return Counter({Kept(why): count for why, count in rows if why is not None})


def keys_to_go(
    session: Session, kind: HeldFile, rule: FileRule, now: datetime
) -> Generator[tuple[int, str], None, None]:
    """Study and key of every file that may go, oldest study first; a film of several images once."""
    wanted = (
        select(Study.id, _KEYS[kind])
        .select_from(Study)
        .join(Image, Image.study_id == Study.id)
        .where(may_go(kind, rule, now))
        .order_by(Study.last_rx_at, Study.id)
    )
    seen: set[str] = set()
    with session.execute(wanted.execution_options(yield_per=1000)) as rows:
        for study_id, key in rows:
            if key is not None and key not in seen:
                seen.add(key)
                yield study_id, key


@dataclass(frozen=True, slots=True)
class Taker:
    """The purge that takes files, and who ordered it."""

    purge_id: int
    actor: Actor


def mark(
    session: Session, by: Taker, kind: HeldFile, rule: FileRule, now: datetime, study_ids: Sequence[int]
) -> list[MarkedStudy]:
    """Mark the files of these studies that may go, under the locks of the studies, and note them for removal."""
    lock_studies(session, study_ids)
    return mark_where(session, by, kind, and_(Study.id.in_(study_ids), may_go(kind, rule, now)))


def lock_studies(session: Session, study_ids: Sequence[int]) -> None:
    """Lock studies in the order of their ids, as all code locks them: no film is added or judged, and no delivery begun meanwhile."""
    held = select(Study.id).where(Study.id.in_(study_ids)).order_by(Study.id)
    session.execute(held.with_for_update(key_share=True)).all()
    told = select(Delivery.id).where(Delivery.study_id.in_(study_ids)).order_by(Delivery.id)
    session.execute(told.with_for_update()).all()


def mark_where(session: Session, by: Taker, kind: HeldFile, condition: ColumnElement[bool]) -> list[MarkedStudy]:
    """Mark the files of images under a condition over `image` and `study`; the caller holds the studies' locks.

    Each study is an event of the audit trail.
    """
    rows = session.execute(
        select(Image.id, _KEYS[kind], Image.patient_key, Study.id, Study.study_uid, Study.side)
        .select_from(Image)
        .join(Study, Study.id == Image.study_id)
        .where(condition, is_held(kind))
        .order_by(Study.id, Image.id)
    ).all()
    for some in chunks([row[0] for row in rows]):
        marked = update(Image).where(Image.id.in_(some)).values({_MARKS[kind].key: now_utc()})
        session.execute(marked.execution_options(**_UNSYNCED))
    for keys in chunks(list(dict.fromkeys(row[1] for row in rows))):
        removals = [{"purge_id": by.purge_id, "kind": kind, "key": key} for key in keys]
        insert_unless_there(session, Removal, removals, "key", "kind")
    files = Counter(row[3] for row in rows)
    studies = {row[3]: row for row in rows}
    found = [
        MarkedStudy(study_id, row[4], row[5], row[2], files[study_id]) for study_id, row in sorted(studies.items())
    ]
    for study in found:
        record(
            session,
            Act.STUDY_PURGED,
            by.actor,
            study_uid=study.study_uid,
            side=study.side,
            patient_key=study.patient_key,
            detail={"purge": by.purge_id, "file": kind.value, "files": study.files},
        )
    return found


def to_remove(session: Session, after: int, limit: int) -> list[FileToRemove]:
    """The next files to remove, by the number of their row."""
    rows = session.execute(
        select(Removal.id, Removal.purge_id, Removal.kind, Removal.key)
        .where(Removal.id > after)
        .order_by(Removal.id)
        .limit(limit)
    )
    return [FileToRemove(*row) for row in rows]


def still_named(session: Session, keys: Sequence[str]) -> set[str]:
    """Those of these films that an image names which is not marked: they stay."""
    named = select(Image.film_key).where(Image.film_key.in_(keys), Image.film_purged_at.is_(None))
    return {key for key in session.scalars(named) if key is not None}


def confirm(session: Session, removals: Sequence[FileToRemove], gone: Sequence[str]) -> None:
    """Delete the notes of files that were removed, or that stay because they are named again.

    `gone`: keys of the films among them that are not on disk. An image that a worker gave one of these films meanwhile is
    marked too, unless the worker has written the film again.
    """
    session.execute(delete(Removal).where(Removal.id.in_([item.removal_id for item in removals])))
    if gone:
        named = update(Image).where(Image.film_key.in_(gone), Image.film_purged_at.is_(None))
        session.execute(named.values(film_purged_at=now_utc()).execution_options(**_UNSYNCED))
