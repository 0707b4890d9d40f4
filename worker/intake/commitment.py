"""Storage commitment: tell a sender which of its objects are safely stored.

A request is written to disk before it is acknowledged, in a spool of its own, and stays there until the sender has taken
the answer. An object counts as committed only when its row is committed and its original is in the store; the answer
waits for objects that are still in the inbox.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.errors import PeerUnreachable, SpoolError
from dicom_io.inbox.quarantine import Note
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import StoreAway, is_file
from dicom_io.listener.commitment import (
    ActionStatus,
    CommitmentRequest,
    Failure,
    FailureReason,
    NotTaken,
    Reference,
    RequestRefused,
    report,
)
from worker.db.filing import holdings
from worker.db.retention.commitments import commit_objects
from worker.db.schema.engine import in_transaction
from worker.db.schema.sql import chunks
from worker.errors import DatabaseUnavailable, SettingsError
from worker.intake.filing import is_intact
from worker.intake.folders import waiting_folder
from worker.intake.setbacks import Setbacks
from worker.logs import error_class
from worker.loops import Loop
from worker.peers import caller_of, peer_with_title
from worker.stores import store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from worker.settings import Settings

logger = logging.getLogger(__name__)

TICK_S = 1.0
#: Requests that may wait for their answer.
MAX_WAITING = 10_000
#: Seconds to wait for an object that is not in SQL yet while the inbox has entries that may be it ...
INBOX_S = 300.0
#: ... and while it has none: another listener may have it.
GRACE_S = 5.0
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3600.0
GIVE_UP_S = 3 * 86400.0
#: A note that could not be read this often is set aside.
READ_TRIES = 5
#: Why a note was set aside, and what to do.
NOT_A_REQUEST, NOT_TAKEN = "NOT_A_REQUEST", "ANSWER_NOT_TAKEN"
SENTENCES = {
    NOT_A_REQUEST: "The note of a request for storage commitment is damaged. Discard it; the sender asks again.",
    NOT_TAKEN: "The requester of storage commitment took no answer for days. Correct its entry in AUSCULT_PEERS and "
    "release the request, or discard it.",
}


@dataclass(frozen=True, slots=True)
class Noted:
    """A request on disk."""

    key: str
    request: CommitmentRequest
    #: By this machine's clock.
    at: float

    @property
    def age_s(self) -> float:
        """How long ago it was noted."""
        return time.time() - self.at


@dataclass(frozen=True, slots=True)
class CommitmentAnswer:
    """Which of the requested objects are safe, and which are not."""

    committed: tuple[Reference, ...]
    failed: tuple[Failure, ...]


class CommitmentBook(Loop):
    """Notes requests and answers them in order; an answer that is not taken is sent again after growing pauses."""

    name = "commitment"

    def __init__(
        self, settings: Settings, sessions: sessionmaker[Session], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(TICK_S)
        self._settings = settings
        self._sessions = sessions
        self._clock = clock
        self._noted = Spool(waiting_folder(settings))
        self._noted.sweep_tmp()
        self._inbox = Spool(settings.spool)
        self._store = store_of(settings, known=True)
        #: When to try an entry again, and the pause after that.
        self._due: dict[str, tuple[float, float]] = {}
        #: When SQL was first asked about an entry and answered.
        self._first_look: dict[str, float] = {}
        #: Notes that cannot be read or set aside.
        self._setbacks = Setbacks(clock)

    def note(self, request: CommitmentRequest) -> None:
        """Make a request durable (dicom_io.listener.commitment.Commitments)."""
        if peer_with_title(self._settings, request.calling_aet) is None:
            # Its answer would have nowhere to go.
            raise RequestRefused(ActionStatus.NOT_AUTHORISED)
        try:
            if len(self._noted.keys()) >= MAX_WAITING:
                raise RequestRefused(ActionStatus.RESOURCE_LIMITATION)
            key = self._noted.put([_encoded(request)])
        except SpoolError as error:
            raise RequestRefused(ActionStatus.PROCESSING_FAILURE) from error
        counts = {"key": key, "objects": len(request.references)}
        logger.info("storage commitment requested", extra={"action": "commitment_noted", **counts})
        self.wake()

    def turn(self) -> bool:
        """Answer the requests that are due; only one listener of a data folder does so at a time."""
        with _alone(waiting_folder(self._settings)) as is_alone:
            if is_alone:
                self._answer_due()
        return False

    def _answer_due(self) -> None:
        away: set[str] = set()
        for noted in self._waiting():
            if noted.request.calling_aet not in away and self._due.get(noted.key, (0.0, 0.0))[0] <= self._clock():
                self._try(noted, away)

    def _try(self, noted: Noted, away: set[str]) -> None:
        """Answer a request; one that fails is put off, so that the others are answered."""
        try:
            self._answer(noted, away)
        except (DatabaseUnavailable, StoreAway):
            raise
        except Exception as error:  # noqa: BLE001 - the turn of a loop: one entry must not keep the others waiting
            self._put_off(noted, error)

    def _waiting(self) -> list[Noted]:
        """The requests on disk, oldest first; of a request that was repeated under its transaction UID only the newest."""
        newest: dict[tuple[str, str], Noted] = {}
        for key in self._setbacks.due(self._noted.keys()):
            noted = self._read(key)
            if noted is None:
                continue
            older = newest.pop(_name(noted), None)
            if older:
                self._forget(older)
            newest[_name(noted)] = noted
        return list(newest.values())

    def _read(self, key: str) -> Noted | None:
        """The request `key`; None where it cannot be read. A note that is not a request is set aside."""
        path = self._noted.path(key)
        try:
            noted = _parsed(path.read_bytes(), key) if is_file(path) else None
            if noted is None:
                self._noted.quarantine(key, Note(NOT_A_REQUEST, ""))
        except (OSError, SpoolError) as error:
            if self._setbacks.add(key) == READ_TRIES:
                facts = {"key": key, "cause": error_class(error)}
                logger.error("a note of storage commitment cannot be read", extra={"action": "left_out", **facts})
                with suppress(SpoolError):
                    self._noted.quarantine(key, Note.of(NOT_A_REQUEST, error, READ_TRIES))
            return None
        return noted

    def _answer(self, noted: Noted, away: set[str]) -> None:
        verdict = self._verdict(noted)
        if verdict is None:
            return
        peer = peer_with_title(self._settings, noted.request.calling_aet)
        counts = {"key": noted.key, "committed": len(verdict.committed), "failed": len(verdict.failed)}
        try:
            if peer is None:
                raise NotTaken
            report(peer, caller_of(self._settings), noted.request.transaction_uid, verdict.committed, verdict.failed)
        except (PeerUnreachable, NotTaken, SettingsError) as error:
            away.add(noted.request.calling_aet)
            self._put_off(noted, error)
            return
        self._forget(noted)
        logger.info("storage commitment answered", extra={"action": "commitment_answered", **counts})

    def _verdict(self, noted: Noted) -> CommitmentAnswer | None:
        """The answer; None while an object may still be on its way into SQL. Raises StoreAway."""
        references = noted.request.references
        if not self._settings.commitment_days:
            # Noted while the site still offered it; nothing can be promised any more.
            return CommitmentAnswer((), tuple(Failure(item, FailureReason.PROCESSING_FAILURE) for item in references))
        self._store.check()
        # Asked before SQL: an entry that is registered in between is then found there.
        is_inbox_empty = not self._inbox.keys(1)
        with self._sessions() as session:
            stored = holdings.stored(session, [reference.sop_uid for reference in references])
        # Not counted from the request: while the database was away, nothing could leave the inbox.
        now = self._clock()
        waited_s = now - self._first_look.setdefault(noted.key, now)
        missing = [reference for reference in references if reference.sop_uid not in stored]
        if missing and waited_s < (GRACE_S if is_inbox_empty else INBOX_S):
            return None
        absent = FailureReason.NO_SUCH_OBJECT if is_inbox_empty else FailureReason.PROCESSING_FAILURE
        reasons = {item: self._reason(item, stored.get(item.sop_uid, []), absent) for item in references}
        reasons |= self._promised(
            noted.request, {item: stored[item.sop_uid] for item in references if not reasons[item]}
        )
        return CommitmentAnswer(
            tuple(item for item, reason in reasons.items() if reason is None),
            tuple(Failure(item, reason) for item, reason in reasons.items() if reason is not None),
        )

    def _promised(
        self, request: CommitmentRequest, held: dict[Reference, list[holdings.RecordedObject]]
    ) -> dict[Reference, FailureReason | None]:
        """Record what is committed, so that no purge takes it; what a purge took a moment ago is not committed."""
        reasons: dict[Reference, FailureReason | None] = {}
        for some in chunks(list(held)):
            ids = {item: [version.image_id for version in held[item]] for item in some}

            def promise(session: Session, ids: dict[Reference, list[int]] = ids) -> set[int]:
                asked = [image_id for of_item in ids.values() for image_id in of_item]
                days = self._settings.commitment_days
                return commit_objects(session, asked, request.calling_aet, request.transaction_uid, days)

            kept = in_transaction(self._sessions, promise)
            reasons |= {item: None if kept >= set(ids[item]) else FailureReason.NO_SUCH_OBJECT for item in some}
        return reasons

    def _reason(
        self, item: Reference, held: list[holdings.RecordedObject], absent: FailureReason
    ) -> FailureReason | None:
        """Why an object is not safe, None where it is: its sender may then delete its own copy."""
        if not held:
            return absent
        if any(version.sop_class_uid != item.sop_class_uid for version in held):
            return FailureReason.CLASS_INSTANCE_CONFLICT
        is_safe = all(is_intact(self._store, version.store_key, version.sha256) for version in held)
        return None if is_safe else FailureReason.NO_SUCH_OBJECT

    def _put_off(self, noted: Noted, error: Exception) -> None:
        facts = {"key": noted.key, "cause": error_class(error), "calling_aet": noted.request.calling_aet}
        if noted.age_s > GIVE_UP_S:
            self._noted.quarantine(noted.key, Note.of(NOT_TAKEN, error))
            self._drop(noted.key)
            logger.error("storage commitment given up: its answer was not taken", extra={"action": "give_up", **facts})
            return
        pause = self._due.get(noted.key, (0.0, FIRST_PAUSE_S))[1]
        self._due[noted.key] = (self._clock() + pause, min(2 * pause, LONGEST_PAUSE_S))
        logger.warning("storage commitment waits, its requester is away", extra={"action": "put_off", **facts})

    def _forget(self, noted: Noted) -> None:
        self._noted.remove(noted.key)
        self._drop(noted.key)

    def _drop(self, key: str) -> None:
        self._due.pop(key, None)
        self._first_look.pop(key, None)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether this process alone works on these requests; others stay away while this lasts."""
    descriptor = os.open(folder / "turn.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_alone = True
    except BlockingIOError:
        is_alone = False
    try:
        yield is_alone
    finally:
        os.close(descriptor)


def _name(noted: Noted) -> tuple[str, str]:
    return noted.request.calling_aet, noted.request.transaction_uid


def _encoded(request: CommitmentRequest) -> bytes:
    document = {
        "transaction_uid": request.transaction_uid,
        "calling_aet": request.calling_aet,
        "at": time.time(),
        "references": [[item.sop_class_uid, item.sop_uid] for item in request.references],
    }
    return json.dumps(document).encode("ascii")


def _parsed(content: bytes, key: str) -> Noted | None:
    """The request in a note; None for a file that is not a note."""
    try:
        document = json.loads(content)
        references = tuple(Reference(*pair) for pair in document["references"])
        request = CommitmentRequest(document["transaction_uid"], document["calling_aet"], references)
        return Noted(key, request, float(document["at"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
