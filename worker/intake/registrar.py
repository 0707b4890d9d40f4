"""The loop of step 3: file the objects of the listener's spool, publish progress, write refusals to SQL.

An entry is removed from the spool last (`worker.intake.filing`). One that fails waits while later entries go first; one
that is at fault itself is set aside in quarantine.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DataError, IntegrityError

from dicom_io.errors import DicomIoError, SpoolError, SpoolFull
from dicom_io.inbox.journal import Journal, RefusalKind, RefusalRecord, now_and_uid
from dicom_io.inbox.quarantine import Note
from dicom_io.inbox.spool import NotAFile, SourceUnreadable, Spool
from dicom_io.inbox.store import StoreAway
from dicom_io.reasons import Reason
from worker.db.answers import inboxes
from worker.db.filing.registry import add_refusals, push_ready
from worker.db.schema.engine import in_transaction, reading
from worker.errors import DatabaseUnavailable
from worker.intake.arrivals import Arrivals
from worker.intake.filing import AT_ONCE, Entry, result_of
from worker.intake.setbacks import Setbacks
from worker.logs import error_class
from worker.loops import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session, sessionmaker

    from worker.db.filing.registry import Registration
    from worker.intake.filing import Filing

logger = logging.getLogger(__name__)

TAKE = 200
IDLE_S = 1.0
#: Where objects come one after the other, the next turn begins so long after the one before, in seconds: those that come meanwhile
#: share its transaction. The first one of a quiet time does not wait.
GATHER_S = 0.2
#: So many are worth a transaction: with more, workers would wait for films and nothing would be saved.
GATHER = 8
#: Shortest and longest time between two publications of a listener without news, in seconds.
PUBLISH_S = (1.0, 5.0)
#: Part of the quiet time after which studies of open associations are pushed again; a burst has many turns in it, and each
#: would write every study that the association has sent.
PUSH_SHARE = 0.25
#: An entry that failed this often, while others were filed, is at fault itself and is set aside.
TRIES = 5
#: The same for the only failing entry, when no other was filed meanwhile; until then it holds up studies.
TRIES_ALONE = 20
#: When so many entries in a row fail, they are not at fault: the turn ends, and the next one begins with later entries.
MOST_IN_A_ROW = 3


class OpenStudies(Protocol):
    """The studies of associations that are still open."""

    def open_studies(self) -> frozenset[str]:
        """Study Instance UIDs received over associations still open."""


class Registrar(Loop):
    """Files the objects in the listener's spool, publishes its progress, and writes refusals to SQL."""

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
        self._clock = clock
        self._publish_s = PUBLISH_S[0]
        #: How often studies of open associations are pushed, and when they last were.
        self._push_s, self._pushed_at = 0.0, -math.inf
        self._published = (-math.inf, 0)
        #: Whether the last listing found entries.
        self._has_waiting = False
        self._uid = ""
        self._setbacks = Setbacks(clock)
        #: Objects filed since the start, and how many of them before an entry that waits failed first.
        self._filed = 0
        self._filed_before: dict[str, int] = {}
        self._in_a_row = 0
        #: Whether the last turn that found entries ended before its last one.
        self._is_cut_short = False
        #: Until when the next turn may wait for more to come, and whether there is no reason to.
        self._gathers_until = -math.inf
        self._hurry = threading.Event()
        #: Objects that came since the last turn began; two that come at the same moment may count as one.
        self._gathered = 0
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
        """Watch this listener: studies of its open associations do not count as complete."""
        self._open = listener
        # Often enough that a study is not seen to be complete much later than it is.
        self._publish_s = min(max(quiet_ms / 10_000, PUBLISH_S[0]), PUBLISH_S[1])
        self._push_s = min(quiet_ms / 1000 * PUSH_SHARE, IDLE_S)

    def arrived(self, key: str) -> None:
        """An object was acknowledged just now."""
        self._arrivals.note(key)
        self._gathered += 1
        if self._gathered >= GATHER:
            self._hurry.set()
        self.wake()

    def association_closed(self) -> None:
        """An association has ended; when no other is open, nothing more comes that could share a turn."""
        if self._open is not None and not self._open.open_studies():
            self._hurry.set()

    def rest(self) -> None:
        """Let what arrives shortly after a turn share the next one."""
        self._hurry.wait(max(0.0, self._gathers_until - self._clock()))

    def end(self) -> None:
        """Begin no other turn."""
        super().end()
        self._hurry.set()

    def turn(self) -> bool:
        """File up to 200 objects; the database is asked first, so that nothing changes while it is away."""
        if self._filing is None:
            self._filing = self._make_filing()
        self._push_open()
        began, self._gathered = self._clock(), 0
        self._hurry.clear()
        keys = self._due(self._listed())
        if keys:
            self._gathers_until = began + GATHER_S
        # Refusals come last: objects matter more.
        self.each(partial(self._file_all, self._filing, keys), self._book_refusals)
        return len(keys) == TAKE

    def beat(self) -> None:
        """Say in SQL that this listener lives and may hold objects, whatever keeps it from registering them."""
        since, waiting = self._published
        if time.monotonic() - since >= PUBLISH_S[1]:
            self._publish(None, waiting)

    def close(self) -> None:
        """Say at an orderly end that nothing is left to register; entries that are left hold up their studies."""
        if not self._spool.keys():
            with self._sessions.begin() as session:
                inboxes.close(session, self._inbox)

    @property
    def _inbox(self) -> str:
        """The spool's identity, made when it is first needed: a disk that is full now may have room later."""
        self._uid = self._uid or self._spool.uid()
        return self._uid

    def _listed(self) -> list[str]:
        """List the spool, and publish until when all acknowledged objects are registered."""
        with self._reads() as session:
            self._arrivals.read_clock(inboxes.clock(session))
        keys = self._spool.keys()
        self._left_out &= set(keys)
        waiting = [key for key in keys if key not in self._left_out]
        self._arrivals.listed(waiting)
        since, _ = self._published
        now = time.monotonic()
        # That entries wait moves no moment, so that it can wait itself; that none does any more lets studies be complete.
        is_over = self._has_waiting and not waiting
        if now - since >= self._publish_s or is_over:
            self._publish(self._arrivals.registered_until_ms(), len(waiting))
            self._published = (now, len(waiting))
        self._has_waiting = bool(waiting)
        return keys

    def _publish(self, until: int | None, waiting: int) -> None:
        said = inboxes.Published(self._inbox, socket.gethostname(), os.getpid(), until, waiting)
        # The first one opens the inbox, before anything is acknowledged; the others say how far this process is.
        is_first = math.isinf(self._published[0])
        in_transaction(self._sessions, lambda session: inboxes.publish(session, said), is_synced=is_first)

    def _due(self, keys: Sequence[str]) -> list[str]:
        """The oldest entries that do not wait for another try."""
        self._setbacks.keep(keys)
        return self._setbacks.due(keys)[:TAKE]

    def _file_all(self, filing: Filing, keys: list[str]) -> None:
        self._in_a_row = 0
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            # One that has failed may be at fault: it is filed alone, so that it costs the others nothing.
            again = [key for key in some if key in self._setbacks]
            fresh = [key for key in some if key not in self._setbacks]
            try:
                for group in [fresh, *([key] for key in again)]:
                    self._file_together(filing, group)
            finally:
                # Not after each object: each turn of the dispatcher takes transactions, which would slow a burst.
                self._on_registered()

    def _file_together(self, filing: Filing, keys: Sequence[str]) -> None:
        """File what waits in one transaction; nothing waits for more to come."""
        with ExitStack() as held:
            # Several listeners may share a spool, as one for TLS and one for plain senders do.
            ours = [key for key in keys if held.enter_context(self._spool.claimed(key))]
            entries = [self._entry(key) for key in ours]
            for key, outcome in zip(ours, filing.file_all(entries), strict=True):
                self._settle(filing, key, outcome)

    def _entry(self, key: str) -> Entry:
        received = self._spool.receipts.of(key)
        return Entry(self._spool.path(key), key, self._arrivals.arrived_ms(key), received=received)

    def _settle(self, filing: Filing, key: str, outcome: Registration | Exception) -> None:
        """Remove an entry that was filed; one that failed waits, and later entries go first."""
        try:
            self._take_off(filing, key, outcome)
        except (DatabaseUnavailable, StoreAway, SpoolFull):
            # Not the fault of an entry.
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
            # The cause is over.
            self._is_cut_short = False
            self._setbacks.retry_all()

    def _put_off(self, filing: Filing, key: str, error: Exception) -> None:
        tries = self._setbacks.add(key)
        before = self._filed_before.setdefault(key, self._filed)
        facts = {"key": key, "cause": error_class(error), "tries": tries}
        is_readable = self._spool.is_readable(key)
        # Where the store fails with an entry that can be read, the entry waits, however long that takes.
        is_at_fault = not (isinstance(error, SpoolError) and is_readable)
        # An unreadable entry is proof enough: in a quiet night no other entry comes.
        is_alone = tries >= TRIES_ALONE and len(self._setbacks) == 1
        is_proven = self._filed > before or not is_readable or is_alone
        if tries >= TRIES and is_at_fault and is_proven:
            try:
                filing.discard(key)
                self._set_aside(key, error, tries)
            except SpoolError:
                self._left_out.add(key)
                logger.exception("object cannot be set aside, it is left out", extra={"action": "left_out", **facts})
            return
        if tries == 1:
            logger.warning("object put off, others go first", extra={"action": "put_off", **facts}, exc_info=error)

    def _take_off(self, filing: Filing, key: str, outcome: Registration | Exception) -> None:
        try:
            entry = result_of(outcome)
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

    def _set_aside(self, key: str, error: Exception, tries: int = 1) -> None:
        """Move an object that cannot be registered to quarantine, and note a refusal."""
        self._spool.quarantine(key, Note.of(Reason.REGISTRATION_FAILED, error, tries))
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
        now = self._clock()
        if self._open is None or now - self._pushed_at < self._push_s:
            return
        if studies := sorted(self._open.open_studies()):
            in_transaction(self._sessions, lambda session: push_ready(session, studies))
        self._pushed_at = now

    def _book_refusals(self) -> None:
        drained = self._journal.drain()
        try:
            self._book(drained.records)
        except (DataError, IntegrityError):
            for record in drained.records:
                self._book_alone(record)
        self._journal.ack(drained)

    def _book_alone(self, record: RefusalRecord) -> None:
        """Write one refusal; a record that the database does not take is dropped, so that the others are written."""
        try:
            self._book((record,))
        except (DataError, IntegrityError) as error:
            logger.error("refusal dropped", extra={"action": "refusal_dropped", "cause": error_class(error)})

    def _book(self, records: Sequence[RefusalRecord]) -> None:
        if records:
            with self._sessions.begin() as session:
                add_refusals(session, records)
