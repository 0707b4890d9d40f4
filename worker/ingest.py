"""``auscult ingest``: files, folders and zip archives go the same way as pushed objects, without a listener.

Ingest has a spool of its own, so that no listener's registrar takes its entries. What a killed ingest leaves there is
registered by the next one; the operator's own files are only read. Pictures become DICOM objects where that is asked
for, in a process of their own.
"""

from __future__ import annotations

import io
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, IntegrityError

from dicom_io.errors import DicomIoError, FilmError, NotDicom, SpoolError
from dicom_io.header import Facts, read_facts, valid_uid
from dicom_io.limits import MAX_FILE_BYTES
from dicom_io.reasons import Reason
from dicom_io.spool import NotAFile, SourceUnreadable, Spool
from worker.archives import Member, members
from worker.bootstrap import Database, ensure_active_model, open_store, study_clock
from worker.completion import complete, settle, work_off_spare
from worker.confined import Confined, Unanswered
from worker.db import queries
from worker.db.registry import release_studies
from worker.progress import progress
from worker.registrar import Filing
from worker.sources import Kind, Skipped, gather, kind_of, kind_of_stream, nothing_in, skip_by_name, skip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from worker.confined import Job
    from worker.settings import Settings
    from worker.sources import Found


#: What ingest takes for itself below a folder; pictures too where they are wrapped.
WANTED = frozenset({Kind.DICOM, Kind.ARCHIVE})
A_PICTURE = "A JPEG or PNG picture and no DICOM object: 'auscult ingest --wrap' takes it as a film, 'auscult classify' judges it."
A_TABLE = "The table of contents of a medium, without films of its own: name the folder in which it lies."
NESTED = "An archive within an archive: unpack it and ingest what it holds."
NOTHING = "The archive holds no DICOM object."


@dataclass(frozen=True, slots=True)
class Turned:
    """A file that did not become an image, and why."""

    path: str
    reason: Reason
    #: More to the point than the reason's own sentence, where there is more to say.
    note: str = ""

    @property
    def sentence(self) -> str:
        """What happened and what to do about it."""
        return self.note or self.reason.sentence


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
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def seen(self) -> int:
        """How many files and members were more than passed over."""
        return self.registered + len(self.turned)


class _Another(Exception):
    """A member of an archive that begins like something else than a DICOM object."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


class Door:
    """Takes files into the ingest spool, turns away or passes over what is no DICOM object, and registers the rest.

    ``wrap`` puts a picture into the spool as a DICOM object and gives its key, or the reason why it cannot.
    """

    def __init__(self, spool: Spool, filing: Filing, wrap: Callable[[Path], str | Reason] | None = None) -> None:
        self._spool = spool
        self._filing = filing
        self._wrap = wrap
        self.intake = Intake()

    def take_leftovers(self) -> None:
        """Register what a killed ingest left behind; what another ingest is at work on stays with that."""
        for key in self._spool.keys():  # noqa: SIM118 - a spool is no dict
            with self._spool.claimed(key) as is_left:
                if is_left:
                    self._take_leftover(key)

    def _take_leftover(self, key: str) -> None:
        try:
            self._register(key, key)
        except (SpoolError, OSError):
            if self._spool.is_readable(key):
                raise
            # What cannot be read is set aside, not waited for: this very command reads it at its every start.
            self._set_aside(key, key)

    def take(self, path: Path) -> None:
        """Take a file, or every member of a zip archive."""
        kind, name = kind_of(path), str(path)
        try:
            if kind is Kind.ARCHIVE:
                for member in members(path):
                    self._take_member(member)
            elif kind is Kind.PICTURE:
                self._take_picture(path, name)
            elif kind is Kind.MEDIA_DIRECTORY:
                self._turn(name, Reason.NOT_A_RADIOGRAPH, A_TABLE)
            elif reason := door_reason(path):
                self._turn(name, reason)
            else:
                self._admit(self._spool.put_file(path), name)
        except SourceUnreadable:
            self._turn(name, Reason.UNREADABLE)

    def _take_member(self, member: Member) -> None:
        """Unpack straight into the spool, under a name of our own: a member's path is never used as one."""
        by_name = skip_by_name(member.path)
        if by_name:
            self.intake.skipped.add(by_name, member.name)
        elif member.reason:
            self._turn(member.name, member.reason)
        else:
            try:
                self._admit(self._spool.put(member.content(_only(Kind.DICOM))), member.name)
            except _Another as found:
                self._take_other(member, found.kind)
            except SourceUnreadable:
                self._turn(member.name, Reason.UNREADABLE)

    def _take_other(self, member: Member, kind: Kind) -> None:
        if kind is Kind.PICTURE and self._wrap:
            key = self._spool.put(member.content(_only(Kind.PICTURE)))
            try:
                self._take_picture(self._spool.path(key), member.name)
            finally:
                self._spool.remove(key)
        elif why := skip_of(kind, member.path.name):
            self.intake.skipped.add(why, member.name)
        else:
            self._turn(member.name, Reason.NOT_DICOM, NESTED if kind is Kind.ARCHIVE else "")

    def _take_picture(self, path: Path, name: str) -> None:
        if self._wrap is None:
            self._turn(name, Reason.NOT_DICOM, A_PICTURE)
            return
        wrapped = self._wrap(path)
        if isinstance(wrapped, Reason):
            self._turn(name, wrapped)
        else:
            self._admit(wrapped, name)

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
        except NotAFile:
            self._set_aside(key, name)
            return
        except SpoolError:
            raise
        except (DicomIoError, DataError, IntegrityError):
            self._filing.discard(key)
            self._set_aside(key, name)
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

    def _set_aside(self, key: str, name: str) -> None:
        """Report an entry as not registered; what cannot even be moved stays where it is, in nobody's way."""
        with suppress(SpoolError):
            self._spool.quarantine(key)
        self._turn(name, Reason.REGISTRATION_FAILED)

    def _turn(self, name: str, reason: Reason, note: str = "") -> None:
        self.intake.turned.append(Turned(name, reason, note))


def ingest(settings: Settings, database: Database, paths: Sequence[Path], *, wrap: bool = False) -> Intake:
    """Register everything under ``paths`` and bring every new task to its end; raises UsageError where nothing is."""
    skipped = Skipped()
    files = gather(paths, skipped, WANTED | {Kind.PICTURE} if wrap else WANTED)
    ensure_active_model(settings, database)
    # What a file says of its sender was true of another system: who ingests it has sent it here.
    filing = Filing(database.sessions, open_store(settings, database), study_clock(settings), source="")
    spool = Spool(settings.home / "ingest", holds=True)
    with Wrapper(settings, spool) as wrapper:
        door = Door(spool, filing, wrapper.wrap if wrap else None)
        door.intake.skipped = skipped
        door.take_leftovers()
        _take_all(door, files)
    with database.sessions.begin() as session:
        release_studies(session, sorted(door.intake.studies))
    _finish(settings, database, door.intake)
    return door.intake


def _take_all(door: Door, files: Sequence[Found]) -> None:
    left_behind, barren = door.intake.seen, []
    with progress("registering", len(files)) as advance:
        for number, found in enumerate(files, start=1):
            before = door.intake.seen
            door.take(found.path)
            if found.is_named and door.intake.seen == before:
                barren.append(found.path)
            advance(number)
    if door.intake.seen == left_behind:
        raise nothing_in([found.path for found in files], door.intake.skipped)
    door.intake.turned += [Turned(str(path), Reason.NOT_DICOM, NOTHING) for path in barren]


class Wrapper:
    """Makes DICOM objects of pictures in a process of its own, which a picture may cost but not the ingest."""

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self._confined = Confined(lambda: _pictures(spool, settings.film_memory_mb), settings.task_limit_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._confined.close()

    def wrap(self, picture: Path) -> str | Reason:
        """The key in the spool of the picture as a DICOM object, or why there is none."""
        try:
            answer = self._confined.ask(str(picture))
        except Unanswered as error:
            return error.reason
        return Reason(answer["reason"]) if answer["reason"] else str(answer["key"])


@contextmanager
def _pictures(spool: Spool, memory_mb: int) -> Iterator[Job]:
    """Paths of pictures in, their keys in the spool out."""
    # Here, in the process that decodes: the command itself needs no decoder.
    from dicom_io.wrap import wrapped_file
    from worker.memory import within_memory

    def wrap(path: str) -> dict[str, str | None]:
        try:
            content = within_memory(memory_mb, lambda: wrapped_file(Path(path)))
        except FilmError as error:
            return {"key": None, "reason": error.reason}
        except OSError:
            return {"key": None, "reason": Reason.UNREADABLE}
        return {"key": spool.put([content]), "reason": None}

    yield None, wrap


def _only(kind: Kind) -> Callable[[bytes], None]:
    """Let a content pass that begins like this kind; raises _Another for any other."""

    def look(start: bytes) -> None:
        found = kind_of_stream(io.BytesIO(start))
        if found is not kind:
            raise _Another(found)

    return look


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
    settle(database, sorted(intake.studies))
    work_off_spare(settings, database, sorted(intake.shadows))
