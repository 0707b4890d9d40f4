"""``auscult ingest``: files, folders and zip archives go the same way as pushed objects, without a listener.

Ingest has a spool of its own, so that no listener's registrar takes its entries. Objects that a killed ingest leaves there are
registered by the next one; the operator's own files are only read. Pictures become DICOM objects on request
(`worker.batches.wrapping`).
"""

from __future__ import annotations

import io
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, IntegrityError

from dicom_io.errors import DicomIoError, NotDicom, SpoolError
from dicom_io.header.elements import valid_uid
from dicom_io.header.reader import read_object
from dicom_io.inbox.archives import ArchiveMember, members
from dicom_io.inbox.quarantine import Note
from dicom_io.inbox.spool import NotAFile, SourceUnreadable, Spool
from dicom_io.limits import MAX_FILE_BYTES
from dicom_io.reasons import Reason
from worker.batches.completion import complete, settle, work_off_spare
from worker.batches.sources import Kind, Skipped, gather, kind_of, kind_of_stream, nothing_in, skip_by_name, skip_of
from worker.batches.wrapping import Wrapper
from worker.db.filing.registry import release_studies
from worker.db.read import queries
from worker.errors import DatabaseUnavailable
from worker.intake.filing import AT_ONCE, Entry, Filing, StudyClock, rejection_policy, result_of
from worker.models.active import ensure_active_model
from worker.progress import progress
from worker.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dicom_io.header.digests import Digests
    from dicom_io.header.facts import Facts
    from worker.batches.sources import FoundFile
    from worker.database import Database
    from worker.db.filing.registry import Registration
    from worker.settings import Settings


#: The kinds of file that ingest takes below a folder; with --wrap pictures too.
WANTED = frozenset({Kind.DICOM, Kind.ARCHIVE})
A_PICTURE = "A JPEG or PNG picture, not a DICOM object: 'auscult ingest --wrap' takes it as a film, 'auscult classify' judges it."
A_TABLE = "The table of contents of a medium, without films of its own: name its folder instead."
NESTED = "An archive within an archive: unpack it and ingest what it holds."
NOTHING = "The archive holds no DICOM object."


@dataclass(frozen=True, slots=True)
class Turned:
    """A file that did not become an image, and why."""

    path: str
    reason: Reason
    #: A sentence that says more than the reason's own; "" where there is none.
    note: str = ""

    @property
    def sentence(self) -> str:
        """What happened and what to do about it."""
        return self.note or self.reason.sentence


@dataclass(slots=True)
class Intake:
    """The objects that an ingest registered, and the files it turned away or skipped."""

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
        """How many files and members were registered or turned away."""
        return self.registered + len(self.turned)


class _Another(Exception):
    """A member of an archive that begins like another kind than the one expected."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


class Ingester:
    """Puts files into the ingest spool and registers them; skips or turns away those that are not DICOM objects.

    ``wrap`` puts a picture into the spool as a DICOM object and gives its key, or the reason why it cannot.
    """

    def __init__(self, spool: Spool, filing: Filing, wrap: Callable[[Path], str | Reason] | None = None) -> None:
        self._spool = spool
        self._filing = filing
        self._wrap = wrap
        #: Objects of the spool that are to be registered, and how their files are named.
        self._waiting: list[tuple[Entry, str]] = []
        self.intake = Intake()

    @property
    def seen(self) -> int:
        """How many files and members were registered, turned away, or wait to be registered."""
        return self.intake.seen + len(self._waiting)

    def take_leftovers(self) -> None:
        """Register what a killed ingest left behind, but for entries that another ingest works on."""
        keys = self._spool.keys()
        for start in range(0, len(keys), AT_ONCE):
            with ExitStack() as held:
                some = keys[start : start + AT_ONCE]
                left = [key for key in some if held.enter_context(self._spool.claimed(key))]
                outcomes = self._filing.file_all([Entry(self._spool.path(key), key) for key in left])
                for key, outcome in zip(left, outcomes, strict=True):
                    self._take_leftover(key, outcome)

    def _take_leftover(self, key: str, outcome: Registration | Exception) -> None:
        try:
            self._book(key, key, outcome)
        except (SpoolError, OSError) as error:
            if self._spool.is_readable(key):
                raise
            # An unreadable entry is set aside: every later ingest would read it again at its start.
            self._set_aside(key, key, error)

    def take(self, path: Path) -> None:
        """Register a file, or every member of a zip archive."""
        self.add(path)
        self.register()

    def add(self, path: Path) -> None:
        """Take a file, or every member of a zip archive, to be registered with others at the latest by `register`."""
        kind, name = kind_of(path), str(path)
        try:
            if kind is Kind.ARCHIVE:
                for member in members(path):
                    self._take_member(member)
            elif kind is Kind.PICTURE:
                self._take_picture(path, name)
            elif kind is Kind.MEDIA_DIRECTORY:
                self._turn(name, Reason.NOT_A_RADIOGRAPH, A_TABLE)
            elif reason := _reason_against(path, kind):
                self._turn(name, reason)
            else:
                self._admit(self._spool.put_file(path), name)
        except SourceUnreadable:
            self._turn(name, Reason.UNREADABLE)

    def _take_member(self, member: ArchiveMember) -> None:
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

    def _take_other(self, member: ArchiveMember, kind: Kind) -> None:
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
        """Let an object of the spool be registered, or turn it away; its header is read here and nowhere else."""
        content = read_admissible(self._spool.path(key))
        if isinstance(content, Reason):
            self._spool.remove(key)
            self._turn(name, content)
            return
        self._waiting.append((Entry(self._spool.path(key), key, content=content), name))
        if len(self._waiting) >= AT_ONCE:
            self.register()

    def register(self) -> None:
        """Register what was taken and waits."""
        waiting, self._waiting = self._waiting, []
        outcomes = self._filing.file_all([entry for entry, _ in waiting])
        for (entry, name), outcome in zip(waiting, outcomes, strict=True):
            self._book(entry.key, name, outcome)

    def _book(self, key: str, name: str, outcome: Registration | Exception) -> None:
        """Book an object as registered, or set it aside; raises an error that is not its own."""
        try:
            entry = result_of(outcome)
        except SourceUnreadable:
            # Another ingest took this leftover first.
            return
        except NotAFile as error:
            self._set_aside(key, name, error)
            return
        except SpoolError:
            raise
        except (DicomIoError, DataError, IntegrityError) as error:
            self._filing.discard(key)
            self._set_aside(key, name, error)
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

    def _set_aside(self, key: str, name: str, error: Exception) -> None:
        """Report an entry as not registered; one that cannot be moved to quarantine stays where it is."""
        with suppress(SpoolError):
            self._spool.quarantine(key, Note.of(Reason.REGISTRATION_FAILED, error))
        self._turn(name, Reason.REGISTRATION_FAILED)

    def _turn(self, name: str, reason: Reason, note: str = "") -> None:
        self.intake.turned.append(Turned(name, reason, note))


def ingest(settings: Settings, database: Database, paths: Sequence[Path], *, wrap: bool = False) -> Intake:
    """Register everything under ``paths`` and complete the new tasks; raises UsageError where there is nothing."""
    skipped = Skipped()
    files = gather(paths, skipped, WANTED | {Kind.PICTURE} if wrap else WANTED)
    ensure_active_model(settings, database)
    # The sender that a file names sent it to another system; here the source is the ingest itself.
    filing = Filing(
        database.sessions,
        open_store(settings, database),
        # The files of a study may lie far apart.
        replace(StudyClock.of(settings), is_held=True),
        source="",
        policy=rejection_policy(settings),
    )
    spool = Spool(settings.home / "ingest", holds=True)
    spool.sweep_tmp()
    with Wrapper(settings, spool) as wrapper:
        ingester = Ingester(spool, filing, wrapper.wrap if wrap else None)
        intake = ingester.intake
        intake.skipped = skipped
        with _released(settings, database, intake):
            ingester.take_leftovers()
            _take_all(ingester, files)
    _finish(settings, database, intake)
    return intake


@contextmanager
def _released(settings: Settings, database: Database, intake: Intake) -> Iterator[None]:
    """At the end the studies are complete; after an interruption or an error they wait for a quiet time, as others do."""

    def release(after_ms: int) -> None:
        with database.sessions.begin() as session:
            release_studies(session, sorted(intake.studies), after_ms)

    try:
        yield
    except BaseException:
        with suppress(DatabaseUnavailable):
            release(StudyClock.of(settings).quiet_ms)
        raise
    release(0)


def _take_all(ingester: Ingester, files: Sequence[FoundFile]) -> None:
    left_behind, barren = ingester.seen, []
    with progress("registering", len(files)) as advance:
        for number, found in enumerate(files, start=1):
            before = ingester.seen
            ingester.add(found.path)
            if found.is_named and ingester.seen == before:
                barren.append(found.path)
            advance(number)
        ingester.register()
    if ingester.seen == left_behind:
        raise nothing_in([found.path for found in files], ingester.intake.skipped)
    ingester.intake.turned += [Turned(str(path), Reason.NOT_DICOM, NOTHING) for path in barren]


def _only(kind: Kind) -> Callable[[bytes], None]:
    """A check that raises _Another for a content that does not begin like this kind."""

    def check(start: bytes) -> None:
        found = kind_of_stream(io.BytesIO(start))
        if found is not kind:
            raise _Another(found)

    return check


def _reason_against(path: Path, kind: Kind) -> Reason | None:
    """The reason why a file is not even copied, by its size and first bytes."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return Reason.TOO_LARGE
    except OSError:
        return Reason.UNREADABLE
    return Reason.NOT_DICOM if kind is Kind.OTHER else None


def read_admissible(path: Path) -> tuple[Facts, Digests] | Reason:
    """Read an object and its digests in one pass; a reason where it cannot be registered, by the listener's rules."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return Reason.TOO_LARGE
        facts, digests = read_object(path)
    except NotDicom:
        return Reason.NOT_DICOM
    except DicomIoError:
        return Reason.HEADER_UNREADABLE
    except OSError:
        return Reason.UNREADABLE
    return _uid_reason(facts) or (facts, digests)


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
