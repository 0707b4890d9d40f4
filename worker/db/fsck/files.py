"""Which originals and films are on record, and the film of an image noted again or forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, update

from worker.db.schema.sql import chunks
from worker.db.schema.study import Image, Study

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class RecordedFiles:
    """The files that an image names; a key is "" where there should be no file, because a purge took it or none was made."""

    image_id: int
    study_uid: str
    sop_uid: str
    store_key: str
    #: SHA-256 of the data set of the original.
    sha256: str
    film_key: str
    film_version: int


def count_images(session: Session) -> int:
    """How many images are on record."""
    return session.execute(select(func.count()).select_from(Image)).scalar_one()


def recorded_files(session: Session, after_id: int, limit: int) -> list[RecordedFiles]:
    """The files of the next images, in the order of their numbers."""
    rows = session.execute(
        select(Image, Study.study_uid)
        .join(Study, Study.id == Image.study_id)
        .where(Image.id > after_id)
        .order_by(Image.id)
        .limit(limit)
        .execution_options(populate_existing=True)
    ).all()
    return [_files_of(image, study_uid) for image, study_uid in rows]


def recorded_again(session: Session, image_id: int) -> RecordedFiles | None:
    """The files of one image as they are on record now; None where it is gone."""
    return next(iter(found for found in recorded_files(session, image_id - 1, 1) if found.image_id == image_id), None)


def _files_of(image: Image, study_uid: str) -> RecordedFiles:
    return RecordedFiles(
        image.id,
        study_uid,
        image.sop_uid,
        "" if image.original_purged_at else image.store_key,
        image.sha256,
        "" if image.film_purged_at else image.film_key or "",
        image.film_version or 0,
    )


def originals_on_record(session: Session, keys: Iterable[str]) -> set[str]:
    """Which of these originals an image names, purged ones included: their files go with the next purge."""
    return _named(session, Image.store_key, keys)


def films_on_record(session: Session, keys: Iterable[str]) -> set[str]:
    """Which of these films an image names."""
    return _named(session, Image.film_key, keys)


def _named(session: Session, column: Any, keys: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for some in chunks(list(keys)):
        found.update(session.scalars(select(column).where(column.in_(some))))
    return found


def damage(session: Session) -> list[str]:
    """What SQLite finds wrong with its file, in its own words, which quote no value; nothing on PostgreSQL.

    PostgreSQL checks its pages as it reads them where the cluster has checksums; `pg_amcheck` looks at all of them.
    """
    if session.get_bind().dialect.name != "sqlite":
        return []
    found = session.execute(text("PRAGMA quick_check(20)")).scalars().all()
    orphans = session.execute(text("PRAGMA foreign_key_check")).all()
    return [str(line) for line in found if line != "ok"] + [
        f"a row of {row[0]} names no row of {row[2]}" for row in orphans
    ]


def note_film(session: Session, image_id: int, before: str, after: tuple[str, int] | None) -> bool:
    """Let an image name another film (key and version), or none; False where it names another one than `before` by now."""
    key, version = after or (None, None)
    changed = session.execute(
        update(Image)
        .where(Image.id == image_id, Image.film_key == before)
        .values(film_key=key, film_version=version, film_sha256=key)
        .returning(Image.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return changed is not None
