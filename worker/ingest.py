"""``auscult ingest``: files, folders and zip archives go the same way as pushed objects, without a listener.

Ingest has a spool of its own, so that no listener's registrar takes its entries. What a killed ingest leaves there is
registered by the next one; the operator's own files are only read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError

from dicom_io.errors import DicomIoError, NotDicom, SpoolError
from dicom_io.header import Facts, read_facts, valid_uid
from dicom_io.limits import MAX_FILE_BYTES
from dicom_io.reasons import Reason
from dicom_io.spool import SourceUnreadable, Spool
from dicom_io.store import Store
from worker.archives import Member, is_archive, members
from worker.bootstrap import Database, ensure_active_model, study_clock
from worker.completion import complete, work_off_spare
from worker.db import queries
from worker.db.registry import release_studies
from worker.progress import progress
from worker.registrar import Filing
from worker.sources import existing, walk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Turned:
    """A file that did not become an image, and why."""

    path: str
    reason: Reason


@dataclass(slots=True)
class Intake:
    """What an ingest took in."""

    tasks: set[int] = field(default_factory=set)
    #: Tasks of the shadow model, which nothing waits for.
    shadows: set[int] = field(default_factory=set)
    studies: set[int] = field(default_factory=set)
    registered: int = 0
    duplicates: int = 0
    turned: list[Turned] = field(default_factory=list)


class Door:
    """Takes files into the ingest spool, turns away what is no DICOM object, and registers the rest."""

    def __init__(self, spool: Spool, filing: Filing) -> None:
        self._spool = spool
        self._filing = filing
        self.intake = Intake()

    def take_leftovers(self) -> None:
        """Register what a killed ingest left behind; an entry of an ingest at work is none the worse for it."""
        for key in self._spool.keys():  # noqa: SIM118 - a spool is no dict
            self._register(key, key)

    def take(self, path: Path) -> None:
        """Take a file, or every member of a zip archive."""
        try:
            if is_archive(path):
                for member in members(path):
                    self._take_member(member)
                return
            reason = door_reason(path)
            if reason:
                self._turn(str(path), reason)
            else:
                self._admit(self._spool.put_file(path), str(path))
        except SourceUnreadable:
            self._turn(str(path), Reason.UNREADABLE)

    def _take_member(self, member: Member) -> None:
        """Unpack straight into the spool, under a name of our own: a member's path is never used as one."""
        if member.reason:
            self._turn(member.name, member.reason)
            return
        try:
            key = self._spool.put(member.content())
        except NotDicom:
            self._turn(member.name, Reason.NOT_DICOM)
        except SourceUnreadable:
            self._turn(member.name, Reason.UNREADABLE)
        else:
            self._admit(key, member.name)

    def _admit(self, key: str, name: str) -> None:
        """Register what lies in the spool; the file it was copied from may have become another meanwhile."""
        reason = door_reason(self._spool.path(key))
        if reason:
            self._spool.remove(key)
            self._turn(name, reason)
        else:
            self._register(key, name)

    def _register(self, key: str, name: str) -> None:
        try:
            entry = self._filing.file(self._spool.path(key), key)
        except SourceUnreadable:
            # Another ingest took this leftover first.
            return
        except SpoolError:
            raise
        except (DicomIoError, DataError):
            self._filing.discard(key, self._spool.path(key))
            self._spool.quarantine(key)
            self._turn(name, Reason.REGISTRATION_FAILED)
            return
        self._spool.remove(key)
        intake = self.intake
        intake.registered += 1
        intake.duplicates += entry.is_duplicate
        intake.studies.add(entry.study_id)
        if entry.task_id is not None:
            intake.tasks.add(entry.task_id)
        if entry.shadow_task_id is not None:
            intake.shadows.add(entry.shadow_task_id)

    def _turn(self, name: str, reason: Reason) -> None:
        self.intake.turned.append(Turned(name, reason))


def ingest(settings: Settings, database: Database, paths: Sequence[Path]) -> Intake:
    """Register everything under ``paths`` and bring every new task to its end."""
    files = list(walk(existing(paths)))
    ensure_active_model(settings, database)
    # What a file says of its sender was true of another system: who ingests it has sent it here.
    filing = Filing(database.sessions, Store(settings.store), study_clock(settings), source="")
    door = Door(Spool(settings.home / "ingest"), filing)
    door.take_leftovers()
    with progress("registering", len(files)) as advance:
        for number, path in enumerate(files, start=1):
            door.take(path)
            advance(number)
    with database.sessions.begin() as session:
        release_studies(session, sorted(door.intake.studies))
    _finish(settings, database, door.intake)
    return door.intake


def door_reason(path: Path) -> Reason | None:
    """The same door as the listener's: what is no DICOM object or has no valid UIDs cannot be registered."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return Reason.TOO_LARGE
        facts = read_facts(path)
    except NotDicom:
        return Reason.NOT_DICOM
    except DicomIoError:
        return Reason.HEADER_UNREADABLE
    except OSError:
        return Reason.UNREADABLE
    return _uid_reason(facts)


def _uid_reason(facts: Facts) -> Reason | None:
    uids = (
        (facts.study_uid, Reason.INVALID_STUDY_UID),
        (facts.series_uid, Reason.INVALID_SERIES_UID),
        (facts.sop_uid, Reason.INVALID_SOP_UID),
        (facts.sop_class_uid, Reason.INVALID_SOP_UID),
    )
    return next((reason for uid, reason in uids if not valid_uid(uid)), None)


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
    work_off_spare(settings, database, sorted(intake.shadows))
