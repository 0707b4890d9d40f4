"""Step 3 of the flow: an object of the spool becomes rows for study, image and task, in one transaction.

The order loses nothing: link the object into the store and make that durable, commit the rows, then remove the
spool's entry. After a crash at any point the entry is still there and is simply registered again.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DataError

from dicom_io.errors import DicomIoError, SpoolError
from dicom_io.header import read_facts, read_object
from dicom_io.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.reasons import Reason
from dicom_io.spool import SourceUnreadable, Spool
from worker.db.engine import in_transaction
from worker.db.registry import Registration, add_refusals, is_on_record, push_ready, register, restore_original
from worker.loops import Loop
from worker.originals import is_intact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.store import Store

logger = logging.getLogger(__name__)

TAKE = 200
#: The dispatcher is woken after so many objects: each of its turns is several transactions, which a burst would wait for.
WAKE_EVERY = 20
IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class StudyClock:
    """When a study counts as complete: quiet time after its last object, and the longest wait, in milliseconds."""

    quiet_ms: int
    max_wait_ms: int


class OpenStudies(Protocol):
    """Knows the studies of associations that are still open."""

    def open_studies(self) -> frozenset[str]:
        """Study Instance UIDs received over associations still open."""


class Filing:
    """Puts one object on record: its copy in the store first, its rows second.

    `source` is who sends what is filed here, where the file meta information of an object does not say so.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        store: Store,
        clock: StudyClock,
        *,
        priority: int = 0,
        source: str | None = None,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._priority = priority
        self._source = source

    def file(self, source: Path, key: str) -> Registration:
        """File an object under ``key``; doing so again is harmless.

        The second copy of known bytes goes only when the first one really lies in the store; else it takes its place.
        """
        self._store.file(source, key)
        facts, digests = read_object(source)

        def write(session: Session) -> Registration:
            return register(
                session,
                facts=facts,
                sha256=digests.dataset,
                pixel_sha256=digests.pixels,
                store_key=key,
                source=self._source,
                quiet_ms=self._clock.quiet_ms,
                max_wait_ms=self._clock.max_wait_ms,
                priority=self._priority,
            )

        entry = in_transaction(self._sessions, write)
        if entry.is_duplicate and entry.store_key != key:
            return self._keep_one(entry, key, digests.dataset)
        return entry

    def _keep_one(self, entry: Registration, key: str, sha256: str) -> Registration:
        is_needed = not is_intact(self._store, entry.store_key, sha256)
        kept = key if is_needed else entry.store_key
        if is_needed or entry.lacked_original:

            def restore(session: Session) -> int | None:
                return restore_original(session, entry.image_id, kept, key)

            task_id = in_transaction(self._sessions, restore)
            entry = replace(entry, store_key=kept, task_id=task_id or entry.task_id)
        if not is_needed:
            self._store.remove(key)
        return entry

    def discard(self, key: str, source: Path) -> None:
        """Take back the copy of an object that cannot be registered, unless an earlier attempt put it on record."""
        with suppress(DicomIoError):
            sop_uid = read_facts(source).sop_uid
            with self._sessions() as session:
                if is_on_record(session, sop_uid, key):
                    return
        self._store.remove(key)


class Registrar(Loop):
    """Files what the listener spooled, keeps studies of open associations waiting, and books the refusals."""

    name = "registrar"

    def __init__(
        self,
        spool: Spool,
        journal: Journal,
        sessions: sessionmaker[Session],
        make_filing: Callable[[], Filing],
        on_registered: Callable[[], None],
    ) -> None:
        super().__init__(IDLE_S)
        self._spool = spool
        self._journal = journal
        self._sessions = sessions
        self._make_filing = make_filing
        self._on_registered = on_registered
        self._filing: Filing | None = None
        self._open: OpenStudies | None = None
        self._quiet_ms = 0

    def watch(self, listener: OpenStudies, quiet_ms: int) -> None:
        """Keep the studies of this listener's open associations from counting as complete."""
        self._open, self._quiet_ms = listener, quiet_ms

    def turn(self) -> bool:
        """File up to 200 objects; the database is asked first, so that nothing is touched while it is away."""
        if self._filing is None:
            self._filing = self._make_filing()
        self._push_open()
        self._book_refusals()
        keys = self._spool.keys(TAKE)
        for start in range(0, len(keys), WAKE_EVERY):
            try:
                for key in keys[start : start + WAKE_EVERY]:
                    self._file(self._filing, key)
            finally:
                self._on_registered()
        return len(keys) == TAKE

    def _file(self, filing: Filing, key: str) -> None:
        try:
            entry = filing.file(self._spool.path(key), key)
        except SourceUnreadable:
            # Another registrar on the same spool was quicker.
            return
        except SpoolError:
            # The store is full or away: the entry stays in the spool until it is back.
            raise
        except (DicomIoError, DataError) as error:
            filing.discard(key, self._spool.path(key))
            self._set_aside(key, error)
            return
        self._spool.remove(key)
        logger.info(
            "object registered",
            extra={
                "action": "register",
                "study": entry.study_id,
                "image": entry.image_id,
                "duplicate": entry.is_duplicate,
            },
        )

    def _set_aside(self, key: str, error: DicomIoError | DataError) -> None:
        """An object the listener took but the registrar cannot read stays on disk and on record."""
        self._journal.append(RefusalRecord(kind=RefusalKind.OBJECT, reason=Reason.REGISTRATION_FAILED, **now_and_uid()))
        self._spool.quarantine(key)
        logger.error(
            "object set aside in quarantine", extra={"action": "quarantine", "key": key, "cause": type(error).__name__}
        )

    def _push_open(self) -> None:
        studies = self._open.open_studies() if self._open else frozenset()
        if studies:
            with self._sessions.begin() as session:
                push_ready(session, sorted(studies), self._quiet_ms)

    def _book_refusals(self) -> None:
        drained = self._journal.drain()
        if drained.records:
            with self._sessions.begin() as session:
                add_refusals(session, drained.records)
        self._journal.ack(drained)
