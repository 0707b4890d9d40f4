"""Compare spool, store, films and SQL, both ways, while everything runs.

A file may be written before its row, and a row may change while it is compared. So each suspicion is looked at once
more before it is a finding, and a file without a row must have an age.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from dicom_io.errors import FilmError, NotDicom
from dicom_io.film.png import read_png
from dicom_io.header.digests import dataset_sha256
from dicom_io.inbox.contents import Entry, EntryKind, entries
from worker.db.fsck import answers, files, work
from worker.db.schema.engine import in_transaction
from worker.fsck.findings import Finding, FindingKind
from worker.fsck.waiting import waiting
from worker.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from dicom_io.film.store import FilmStore
    from dicom_io.inbox.store import Store
    from worker.database import Database
    from worker.db.fsck.files import RecordedFiles
    from worker.fsck.findings import FsckReport
    from worker.settings import Settings

T = TypeVar("T")

#: A younger file without a row may be on its way; a temporary file this old was left by a process that has ended.
ON_ITS_WAY_S = 900.0
LEFT_S = 3600.0
_PAGE = 500
#: On SQLite a transaction keeps writers out, so it is short.
_DECIDED_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Data:
    """What is compared."""

    settings: Settings
    database: Database
    store: Store
    films: FilmStore


def findings(data: Data, report: FsckReport, *, deep: bool) -> Iterator[Finding]:
    """Look at everything and iterate over what is wrong; `report` counts what was looked at.

    Raises
    ------
    StoreAway
        If the store or the films are not mounted: nothing is missing then.
    SpoolError
        If a folder cannot be read.
    """
    data.store.check()
    data.films.check()
    yield from _damage(data)
    yield from _recorded_files(data, report, deep=deep)
    yield from _originals(data, report)
    yield from _films(data, report)
    yield from _unworked(data)
    yield from _work(data)
    yield from waiting(data.settings)
    # Last: what was repaired before has decided its studies again.
    yield from _stale_answers(data, report)


def _work(data: Data) -> Iterator[Finding]:
    """Tasks, re-runs and listeners that are not what they seem."""
    for page in _pages(data, work.worked, lambda task: task.task_id):
        yield from (
            Finding(FindingKind.TASK_WORKED, str(task.task_id), image_id=task.image_id, number=task.task_id)
            for task in page
        )
    for kind, numbers in (
        (FindingKind.BATCH_FORGOTTEN, work.forgotten_batches),
        (FindingKind.BATCH_LONG_OPEN, work.long_open_batches),
        (FindingKind.LISTENER_GONE, work.long_silent_listeners),
    ):
        with data.database.reads() as session:
            found = numbers(session)
        yield from (Finding(kind, str(number), number=number) for number in found)


def _damage(data: Data) -> Iterator[Finding]:
    with data.database.reads() as session:
        for sentence in files.damage(session):
            yield Finding(FindingKind.DATABASE_DAMAGED, sentence)


def _recorded_files(data: Data, report: FsckReport, *, deep: bool) -> Iterator[Finding]:
    """Files that are on record and not there, or not what they were."""
    with data.database.reads() as session:
        total = files.count_images(session)
    with progress("images", total) as advance:
        for page in _pages(data, files.recorded_files, lambda recorded: recorded.image_id):
            for recorded in page:
                yield from _wrong_files(data, recorded, deep=deep)
                report.images += 1
            advance(report.images)


def _wrong_files(data: Data, recorded: RecordedFiles, *, deep: bool) -> Iterator[Finding]:
    for kind in _suspicions(data, recorded, deep=deep):
        with data.database.reads() as session:
            again = files.recorded_again(session, recorded.image_id)
        if again is not None and kind in _suspicions(data, again, deep=deep):
            yield Finding(kind, again.sop_uid, image_id=again.image_id)


def _suspicions(data: Data, recorded: RecordedFiles, *, deep: bool) -> list[FindingKind]:
    found = []
    if recorded.store_key:
        if not data.store.exists(recorded.store_key):
            found.append(FindingKind.ORIGINAL_MISSING)
        elif deep and not _is_received(data.store.path(recorded.store_key), recorded.sha256):
            found.append(FindingKind.ORIGINAL_DAMAGED)
    if recorded.film_key:
        if not data.films.exists(recorded.film_key):
            found.append(FindingKind.FILM_MISSING)
        elif deep and not _is_film(data.films.path(recorded.film_key), recorded.film_key):
            found.append(FindingKind.FILM_DAMAGED)
    return found


def _is_received(path: Path, sha256: str) -> bool:
    try:
        return dataset_sha256(path) == sha256
    except (NotDicom, OSError):
        return False


def _is_film(path: Path, key: str) -> bool:
    try:
        return read_png(path).sha256 == key
    except (FilmError, OSError):
        return False


def _originals(data: Data, report: FsckReport) -> Iterator[Finding]:
    def count(number: int) -> None:
        report.originals += number

    yield from _without_rows(
        data, entries(data.store.root, ".dcm"), files.originals_on_record, FindingKind.ORIGINAL_UNRECORDED, count
    )


def _films(data: Data, report: FsckReport) -> Iterator[Finding]:
    def count(number: int) -> None:
        report.films += number

    yield from _without_rows(
        data, entries(data.films.root, ".png"), files.films_on_record, FindingKind.FILM_UNRECORDED, count
    )


def _without_rows(
    data: Data,
    found: Iterator[Entry],
    on_record: Callable[[Session, Iterable[str]], set[str]],
    kind: FindingKind,
    count: Callable[[int], None],
) -> Iterator[Finding]:
    """Files that no row names, and files that do not belong there."""
    while page := list(islice(found, _PAGE)):
        kept = [entry for entry in page if entry.kind is EntryKind.KEPT]
        count(len(kept))
        for entry in page:
            if entry.kind is EntryKind.FOREIGN:
                yield Finding(FindingKind.FOREIGN_FILE, str(entry.path))
            elif entry.kind is EntryKind.PART and entry.age_s > LEFT_S:
                yield Finding(FindingKind.PART_LEFT, str(entry.path))
        old = [entry for entry in kept if entry.age_s > ON_ITS_WAY_S]
        with data.database.reads() as session:
            known = on_record(session, [entry.key for entry in old])
        for entry in old:
            if entry.key not in known and entry.path.exists():
                yield Finding(kind, entry.key)


def _unworked(data: Data) -> Iterator[Finding]:
    for page in _pages(data, answers.unworked, lambda image: image.image_id):
        yield from (Finding(FindingKind.NO_TASK, image.sop_uid, image_id=image.image_id) for image in page)


def _stale_answers(data: Data, report: FsckReport) -> Iterator[Finding]:
    with data.database.reads() as session:
        total = answers.count_studies(session)
    with progress("answers", total) as advance:
        for page in _pages(data, answers.finished_studies, lambda row: row.study_id, size=_DECIDED_AT_ONCE):
            stale = in_transaction(data.database.sessions, partial(_stale, page))
            yield from (Finding(FindingKind.ANSWER_STALE, row.study_uid, study_id=row.study_id) for row in stale)
            report.studies += len(page)
            advance(report.studies)


def _stale(rows: Sequence[answers.StudyRow], session: Session) -> list[answers.StudyRow]:
    return [row for row in rows if answers.is_stale(session, row.study_id)]


def _pages(
    data: Data, rows: Callable[[Session, int, int], list[T]], number: Callable[[T], int], size: int = _PAGE
) -> Iterator[list[T]]:
    """Read rows page by page, each in a transaction of its own, in the order of their numbers."""
    after = 0
    while True:
        with data.database.reads() as session:
            page = rows(session, after, size)
        if not page:
            return
        yield page
        after = number(page[-1])
