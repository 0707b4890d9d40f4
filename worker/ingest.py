"""``auscult ingest``: files, folders and zip archives go the same way as pushed objects, without a listener.

Each file is copied into the store under a key made of its own digest, then registered. A crash between the two leaves
a copy that the next ingest of the same file takes over; the operator's own files are only read.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_io.errors import DicomIoError, HeaderUnreadable, NotDicom, SpoolError
from dicom_io.header import Facts, dataset_sha256, read_facts, valid_uid
from dicom_io.reasons import Reason
from dicom_io.store import Store
from worker.bootstrap import Database, active_bundle, record_model, study_clock
from worker.completion import complete
from worker.db import queries
from worker.db.registry import release_studies
from worker.progress import progress
from worker.registrar import Filing
from worker.sources import existing, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.settings import Settings

#: No single radiograph is larger; a zip member that claims more is not unpacked.
MAX_MEMBER_BYTES = 1 << 30
KEY_LENGTH = 32
#: Bit 0 of a zip member's general purpose flags (APPNOTE.TXT 4.4.4).
ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Turned:
    """A file that did not become an image, and why."""

    path: str
    reason: Reason


@dataclass(slots=True)
class Intake:
    """What an ingest took in."""

    tasks: set[int] = field(default_factory=set)
    studies: set[int] = field(default_factory=set)
    registered: int = 0
    duplicates: int = 0
    turned: list[Turned] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Source:
    """One file to look at: where it lies now and what to call it; or why it cannot be looked at."""

    path: Path
    name: str
    reason: Reason | None = None


def ingest(settings: Settings, database: Database, paths: Sequence[Path]) -> Intake:
    """Register everything under ``paths`` and bring every new task to its end."""
    model_id = record_model(database.sessions, active_bundle(settings), make_active=True)
    filing = Filing(database.sessions, Store(settings.store), study_clock(settings), model_id)
    intake = Intake()
    files = list(walk(existing(paths)))
    with progress("registering", len(files)) as advance:
        for number, path in enumerate(files, start=1):
            for source in _sources(path, settings.home):
                _take(source, filing, intake)
            advance(number)
    with database.sessions.begin() as session:
        release_studies(session, sorted(intake.studies))
    _finish(settings, database, intake)
    return intake


def _take(source: Source, filing: Filing, intake: Intake) -> None:
    if source.reason:
        intake.turned.append(Turned(source.name, source.reason))
        return
    try:
        facts = read_facts(source.path)
        refused = door_reason(facts)
        if refused:
            intake.turned.append(Turned(source.name, refused))
            return
        key = dataset_sha256(source.path)[:KEY_LENGTH]
        entry = filing.file(source.path, key, link=False)
    except SpoolError:
        raise
    except NotDicom:
        intake.turned.append(Turned(source.name, Reason.NOT_DICOM))
    except HeaderUnreadable:
        intake.turned.append(Turned(source.name, Reason.HEADER_UNREADABLE))
    except (DicomIoError, OSError):
        intake.turned.append(Turned(source.name, Reason.UNREADABLE))
    else:
        intake.registered += 1
        intake.duplicates += entry.is_duplicate
        intake.studies.add(entry.study_id)
        if entry.task_id is not None:
            intake.tasks.add(entry.task_id)


def door_reason(facts: Facts) -> Reason | None:
    """The same door as the listener's: without valid UIDs there is nothing to register."""
    uids = (
        (facts.study_uid, Reason.INVALID_STUDY_UID),
        (facts.series_uid, Reason.INVALID_SERIES_UID),
        (facts.sop_uid, Reason.INVALID_SOP_UID),
        (facts.sop_class_uid, Reason.INVALID_SOP_UID),
    )
    return next((reason for uid, reason in uids if not valid_uid(uid)), None)


@contextmanager
def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(dir=folder, prefix="unzip-") as target:
        with archive.open(member) as packed:
            shutil.copyfileobj(packed, target, 1 << 20)
        target.flush()
        yield Path(target.name)


def _sources(path: Path, folder: Path) -> Iterator[Source]:
    """The file itself, or each member of a zip archive, unpacked one at a time under a name of our own."""
    if not zipfile.is_zipfile(path):
        yield Source(path, str(path))
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield from _member(archive, member, folder, f"{path}!{member.filename}")
    except zipfile.BadZipFile:
        yield Source(path, str(path), Reason.UNREADABLE)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, name: str) -> Iterator[Source]:
    if member.file_size > MAX_MEMBER_BYTES:
        yield Source(folder, name, Reason.TOO_LARGE)
    elif member.flag_bits & ENCRYPTED:
        yield Source(folder, name, Reason.UNREADABLE)
    else:
        with _unpacked(archive, member, folder) as unpacked:
            yield Source(unpacked, name)


def _finish(settings: Settings, database: Database, intake: Intake) -> None:
    wanted = sorted(intake.tasks)

    def open_tasks() -> Sequence[int]:
        with database.reads() as session:
            return queries.open_among(session, wanted)

    total = len(wanted)
    with progress("judging", total) as advance:
        complete(settings, database, open_tasks, lambda: total - len(open_tasks()), advance)
    with database.sessions.begin() as session:
        queries.settle(session)
