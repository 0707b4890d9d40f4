"""Step 3 of the flow: objects become rows for study, image and task, those that wait together in one transaction.

No crash loses an object: it is linked into the store and made durable, then its rows are committed, and only then the
caller removes its spool entry. After a crash at any point the entry is still there and is registered again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dicom_io.errors import NotDicom
from dicom_io.header.digests import dataset_sha256
from dicom_io.header.key_objects import KEY_OBJECT_SELECTION, is_own_note, read_rejection
from dicom_io.header.reader import pixels_sha256, read_object
from worker.addresses import listed_sources
from worker.db.filing.bulk import register_all
from worker.db.filing.registry import Registration, is_on_record, restore_original
from worker.db.identity.arrivals import NO_REJECTIONS, Received
from worker.db.identity.rejections import RejectionPolicy, SentAgain
from worker.db.schema.engine import in_transaction, reading
from worker.db.schema.states import NoteEffect
from worker.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.header.digests import Digests, ReceivedDigests
    from dicom_io.header.facts import Facts
    from dicom_io.inbox.store import Store
    from worker.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

#: How many objects are filed together at most; more of them in one transaction make it hardly cheaper.
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class StudyClock:
    """When a study counts as complete: quiet time after its last object, and the longest wait, in milliseconds.

    `is_held`: no quiet time counts, as who files its objects says when all are there (`release_studies`).
    """

    quiet_ms: int
    max_wait_ms: int
    is_held: bool = False

    @classmethod
    def of(cls, settings: Settings) -> StudyClock:
        """The times that the settings name."""
        return cls(round(settings.quiet_s * 1000), round(settings.max_wait_s * 1000))


def rejection_policy(settings: Settings) -> RejectionPolicy:
    """What the settings say about rejection notes."""
    return RejectionPolicy(
        sources=listed_sources(settings.rejection_sources),
        quality=_QUALITY[settings.rejected_for_quality],
        sent_again=SentAgain(settings.rejected_again),
        window_ms=round(settings.rejection_window_days * 24 * 3600 * 1000),
    )


_QUALITY = {
    "keep-pneumonia": NoteEffect.KEEPS_PNEUMONIA,
    "withdraw": NoteEffect.WITHDRAWS,
    "ignore": NoteEffect.NONE,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to be filed under a key; who has read it hands its content on, who has received it its digests."""

    source: Path
    key: str
    #: As `Received.arrived_ms`.
    arrived_ms: int | None = None
    content: tuple[Facts, Digests] | None = None
    received: ReceivedDigests | None = None


class Filing:
    """Files objects: their copies in the store first, their rows second.

    `source` names the sender where the file meta information of an object does not.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        store: Store,
        clock: StudyClock,
        *,
        priority: int = 0,
        source: str | None = None,
        policy: RejectionPolicy = NO_REJECTIONS,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._priority = priority
        self._source = source
        self._policy = policy

    def file(
        self,
        source: Path,
        key: str,
        arrived_ms: int | None = None,
        *,
        content: tuple[Facts, Digests] | None = None,
    ) -> Registration:
        """File one object under ``key``, as `file_all` does; raises what kept it from being filed."""
        (outcome,) = self.file_all([Entry(source, key, arrived_ms, content)])
        return result_of(outcome)

    def file_all(self, entries: Sequence[Entry]) -> Iterator[Registration | Exception]:
        """File objects, some dozen at most, in one transaction; filing one again is harmless.

        The second copy of known bytes is deleted only when the first one is really in the store; else it replaces it, also
        where a purge took the first one.

        Yields
        ------
        Registration or Exception
            For each entry in order its rows, or what kept it from being filed. Where the transaction fails, each of the
            others is filed alone when it is asked for, so that one object at fault costs no other.
        """
        received = self._take(entries)
        written = self._written([item for item in received if isinstance(item, Received)])
        for item in received:
            if isinstance(item, Received):
                found = next(written)
                yield found if isinstance(found, Exception) else _attempt(self._tidied, found, item)
            else:
                yield item

    def _take(self, entries: Sequence[Entry]) -> list[Received | Exception]:
        """Put the files into the store and read their headers; each that fails does so alone."""
        linked = [_attempt(self._store.link, entry.source, entry.key) for entry in entries]
        folders = [self._store.path(entry.key).parent for entry in entries]
        #: After all links, once for each folder: keys of the same time share one.
        synced: dict[Path, Exception | None] = {}
        for entry, folder, error in zip(entries, folders, linked, strict=True):
            if error is None and folder not in synced:
                synced[folder] = _attempt(self._store.sync, entry.key)
        steps = zip(entries, folders, linked, strict=True)
        errors = ((entry, error or synced[folder]) for entry, folder, error in steps)
        return [_attempt(self._read, entry) if error is None else error for entry, error in errors]

    def _read(self, entry: Entry) -> Received:
        source = entry.source
        facts, digests = entry.content or read_object(source, entry.received)
        is_note = facts.sop_class_uid == KEY_OBJECT_SELECTION and not is_own_note(facts)
        rejection = read_rejection(source) if is_note else None
        return Received(
            facts=facts,
            sha256=digests.dataset,
            pixel_sha256=digests.pixels,
            read_pixel_sha256=partial(pixels_sha256, source),
            film_header_sha256=digests.film_header,
            store_key=entry.key,
            source=self._source,
            quiet_ms=self._clock.quiet_ms,
            max_wait_ms=self._clock.max_wait_ms,
            arrived_ms=entry.arrived_ms,
            priority=self._priority,
            is_held=self._clock.is_held,
            rejection=rejection,
            policy=self._policy,
        )

    def _written(self, received: Sequence[Received]) -> Iterator[Registration | Exception]:
        """Write the rows of objects together; where that fails and the database answers, of each alone."""
        together = _attempt(self._write, received)
        if not isinstance(together, Exception):
            yield from together
        elif len(received) == 1 or isinstance(together, DatabaseUnavailable):
            yield from [together] * len(received)
        else:
            for item in received:
                alone = _attempt(self._write, [item])
                yield alone if isinstance(alone, Exception) else alone[0]

    def _write(self, received: Sequence[Received]) -> list[Registration]:
        if not received:
            return []
        return in_transaction(self._sessions, lambda session: register_all(session, received))

    def _tidied(self, entry: Registration, item: Received) -> Registration:
        """Remove the copy that is not needed."""
        key = item.store_key
        if entry.is_duplicate and entry.store_key != key:
            return self._keep_one(entry, key, item.sha256)
        if entry.is_purged:
            # The same arrival as the one that was purged, left in the spool by a crash.
            self._store.remove(key)
        return entry

    def _keep_one(self, entry: Registration, key: str, sha256: str) -> Registration:
        is_needed = entry.is_purged or not is_intact(self._store, entry.store_key, sha256)
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


def result_of(outcome: Registration | Exception) -> Registration:
    """The rows of an entry; raises what kept it from being filed."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _attempt(step: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | Exception:
    """What a step gives, or the error by which it fails."""
    try:
        return step(*args, **named)
    except Exception as error:  # noqa: BLE001 - who filed the object decides whose fault it is
        return error


def is_intact(store: Store, key: str, sha256: str) -> bool:
    """Whether the store has the original under `key`, with the data set that was received."""
    try:
        return dataset_sha256(store.path(key)) == sha256
    except (NotDicom, OSError):
        return False
