"""Step 3 of the flow: an object of the spool becomes rows for study, image and task, in one transaction.

The order loses nothing: link the object into the store and make that durable, commit the rows, then remove the
spool's entry. After a crash at any point the entry is still there and is simply registered again.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DataError, IntegrityError

from dicom_io.errors import DicomIoError, SpoolError, SpoolFull
from dicom_io.header import read_object
from dicom_io.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.reasons import Reason
from dicom_io.spool import NotAFile, SourceUnreadable, Spool
from dicom_io.store import StoreAway
from worker.arrivals import Arrivals
from worker.db import inboxes
from worker.db.engine import in_transaction, reading
from worker.db.registry import Registration, add_refusals, is_on_record, push_ready, register, restore_original
from worker.errors import DatabaseUnavailable
from worker.logs import error_class
from worker.loops import Loop
from worker.originals import is_intact
from worker.setbacks import Setbacks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.store import Store

logger = logging.getLogger(__name__)

TAKE = 200
#: The dispatcher is woken after so many objects: each of its turns is several transactions, which a burst would wait for.
WAKE_EVERY = 20
IDLE_S = 1.0
#: Shortest and longest time between two publications of a listener that has nothing new to say.
PUBLISH_S = (1.0, 5.0)
#: An entry that failed so often, while others were filed, is at fault itself and is set aside.
TRIES = 5
#: Failures of the only entry that fails, when nothing was filed beside it; until then it holds up studies.
TRIES_ALONE = 20
#: When so many entries in a row fail, it is not they: the turn ends, and the next one begins with those behind them.
MOST_IN_A_ROW = 3


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

    def file(self, source: Path, key: str, arrived_ms: int | None = None) -> Registration:
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
                arrived_ms=arrived_ms,
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

    def discard(self, key: str) -> None:
        """Take back the copy of an object that cannot be registered, unless an earlier attempt put it on record."""
        with reading(self._sessions)() as session:
            if is_on_record(session, key):
                return
        self._store.remove(key)


class Registrar(Loop):
    """Files what the listener spooled, publishes how far it is, and books the refusals."""

    name = "registrar"

    def __init__(
        self,
        spool: Spool,
        journal: Journal,
        sessions: sessionmaker[Session],
        make_filing: Callable[[], Filing],
        on_registered: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(IDLE_S)
        self._spool = spool
        self._journal = journal
        self._sessions = sessions
        self._reads = reading(sessions)
        self._make_filing = make_filing
        self._on_registered = on_registered
        self._filing: Filing | None = None
        self._open: OpenStudies | None = None
        self._arrivals = Arrivals()
        self._publish_s = PUBLISH_S[0]
        self._published = (-math.inf, 0)
        self._uid = ""
        self._setbacks = Setbacks(clock)
        #: Objects filed since the start, and how many of them before an entry that waits failed first.
        self._filed = 0
        self._filed_before: dict[str, int] = {}
        self._in_a_row = 0
        #: Whether the last turn that found entries ended before its last one.
        self._is_cut_short = False
        #: Entries that can be neither read nor set aside; like those in quarantine they hold up no study.
        self._left_out: set[str] = set()

    @property
    def put_off(self) -> int:
        """How many entries could not be filed so far and wait for their next try, while others go first."""
        return len(self._setbacks)

    @property
    def oldest_s(self) -> float:
        """How long the oldest acknowledged object has waited to be registered."""
        return self._arrivals.oldest_s()

    def watch(self, listener: OpenStudies, quiet_ms: int) -> None:
        """Keep the studies of this listener's open associations from counting as complete."""
        self._open = listener
        # Often enough that a study is not seen to be complete much later than it is.
        self._publish_s = min(max(quiet_ms / 10_000, PUBLISH_S[0]), PUBLISH_S[1])

    def arrived(self, key: str) -> None:
        """An object was acknowledged just now."""
        self._arrivals.note(key)
        self.wake()

    def turn(self) -> bool:
        """File up to 200 objects; the database is asked first, so that nothing is touched while it is away."""
        if self._filing is None:
            self._filing = self._make_filing()
        self._push_open()
        keys = self._due(self._look())
        # The refusals last: they are news, the objects are evidence.
        self.each(partial(self._file_all, self._filing, keys), self._book_refusals)
        return len(keys) == TAKE

    def beat(self) -> None:
        """Say in SQL that this listener lives and may hold objects, whatever keeps it from registering them."""
        self._publish(None, self._published[1])

    def close(self) -> None:
        """Say at an orderly end that nothing is left to register; what is left holds its studies up."""
        if not self._spool.keys():
            with self._sessions.begin() as session:
                inboxes.close(session, self._inbox)

    @property
    def _inbox(self) -> str:
        """The spool's identity, made when it is first needed: a disk that is full now may have room later."""
        self._uid = self._uid or self._spool.uid()
        return self._uid

    def _look(self) -> list[str]:
        """List the spool, and publish how far everything acknowledged is registered."""
        with self._reads() as session:
            self._arrivals.read_clock(inboxes.clock(session))
        keys = self._spool.keys()
        self._left_out &= set(keys)
        waiting = [key for key in keys if key not in self._left_out]
        self._arrivals.listed(waiting)
        since, before = self._published
        now = time.monotonic()
        if now - since >= self._publish_s or bool(waiting) != bool(before):
            self._publish(self._arrivals.registered_until_ms(), len(waiting))
            self._published = (now, len(waiting))
        return keys

    def _publish(self, until: int | None, waiting: int) -> None:
        said = inboxes.Published(self._inbox, socket.gethostname(), os.getpid(), until, waiting)
        with self._sessions.begin() as session:
            inboxes.publish(session, said)

    def _due(self, keys: Sequence[str]) -> list[str]:
        """The oldest entries that do not wait for another try."""
        self._setbacks.keep(keys)
        return self._setbacks.due(keys)[:TAKE]

    def _file_all(self, filing: Filing, keys: list[str]) -> None:
        self._in_a_row = 0
        for start in range(0, len(keys), WAKE_EVERY):
            try:
                for key in keys[start : start + WAKE_EVERY]:
                    # Several listeners may share a spool, as one for TLS and one for plain senders do.
                    with self._spool.claimed(key) as is_ours:
                        if is_ours:
                            self._try(filing, key)
            finally:
                self._on_registered()

    def _try(self, filing: Filing, key: str) -> None:
        """File an entry; one that fails lets those behind it go first, be it its own fault or not."""
        try:
            self._file(filing, key)
        except (DatabaseUnavailable, StoreAway, SpoolFull):
            # No entry's fault.
            raise
        except Exception as error:
            self._put_off(filing, key, error)
            self._in_a_row += 1
            if self._in_a_row >= MOST_IN_A_ROW:
                self._is_cut_short = True
                raise
            return
        self._in_a_row = 0
        self._setbacks.forget(key)
        self._filed_before.pop(key, None)
        if self._is_cut_short:
            # What was away is back.
            self._is_cut_short = False
            self._setbacks.retry_all()

    def _put_off(self, filing: Filing, key: str, error: Exception) -> None:
        tries = self._setbacks.add(key)
        before = self._filed_before.setdefault(key, self._filed)
        facts = {"key": key, "cause": error_class(error), "tries": tries}
        is_readable = self._spool.is_readable(key)
        # Where the store fails with an entry that can be read, the entry waits, however long that takes.
        is_at_fault = not (isinstance(error, SpoolError) and is_readable)
        # An entry that cannot be read needs no other for a proof, and in a quiet night no other comes.
        is_alone = tries >= TRIES_ALONE and len(self._setbacks) == 1
        is_proven = self._filed > before or not is_readable or is_alone
        if tries >= TRIES and is_at_fault and is_proven:
            try:
                filing.discard(key)
                self._set_aside(key, error)
            except SpoolError:
                self._left_out.add(key)
                logger.exception("object cannot be set aside, it is left out", extra={"action": "left_out", **facts})
            return
        if tries == 1:
            logger.warning("object put off, others go first", extra={"action": "put_off", **facts}, exc_info=error)

    def _file(self, filing: Filing, key: str) -> None:
        try:
            entry = filing.file(self._spool.path(key), key, self._arrivals.arrived_ms(key))
        except SourceUnreadable:
            # Another registrar on the same spool was quicker.
            return
        except NotAFile as error:
            self._set_aside(key, error)
            return
        except SpoolError:
            # The store is full or away: the entry stays in the spool until it is back.
            raise
        except (DicomIoError, DataError) as error:
            filing.discard(key)
            self._set_aside(key, error)
            return
        self._filed += 1
        self._spool.remove(key)
        self._arrivals.forget(key)
        logger.info(
            "object registered",
            extra={
                "action": "register",
                "study": entry.study_id,
                "image": entry.image_id,
                "duplicate": entry.is_duplicate,
            },
        )

    def _set_aside(self, key: str, error: Exception) -> None:
        """An object the listener took but the registrar cannot read stays on disk and on record."""
        self._spool.quarantine(key)
        self._setbacks.forget(key)
        self._filed_before.pop(key, None)
        logger.error(
            "object set aside in quarantine", extra={"action": "quarantine", "key": key, "cause": type(error).__name__}
        )
        record = RefusalRecord(kind=RefusalKind.OBJECT, reason=Reason.REGISTRATION_FAILED, **now_and_uid())
        try:
            self._journal.append(record)
        except SpoolError:
            logger.exception("object set aside without a refusal in SQL", extra={"action": "journal_failed"})

    def _push_open(self) -> None:
        studies = self._open.open_studies() if self._open else frozenset()
        if studies:
            in_transaction(self._sessions, lambda session: push_ready(session, sorted(studies)))

    def _book_refusals(self) -> None:
        drained = self._journal.drain()
        try:
            self._book(drained.records)
        except (DataError, IntegrityError):
            for record in drained.records:
                self._book_alone(record)
        self._journal.ack(drained)

    def _book_alone(self, record: RefusalRecord) -> None:
        """Book one refusal; a record that the database does not take is dropped, the others are not its fault."""
        try:
            self._book((record,))
        except (DataError, IntegrityError) as error:
            logger.error("refusal dropped", extra={"action": "refusal_dropped", "cause": error_class(error)})

    def _book(self, records: Sequence[RefusalRecord]) -> None:
        if records:
            with self._sessions.begin() as session:
                add_refusals(session, records)
