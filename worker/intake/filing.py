"""Step 3 of the flow: an object becomes rows for study, image and task, in one transaction.

No crash loses an object: it is linked into the store and made durable, then its rows are committed, and only then the
caller removes its spool entry. After a crash at any point the entry is still there and is registered again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicom_io.errors import NotDicom
from dicom_io.header.digests import dataset_sha256
from dicom_io.header.key_objects import KEY_OBJECT_SELECTION, read_rejection
from dicom_io.header.reader import read_object
from worker.addresses import listed_sources
from worker.db.filing.registry import NO_REJECTIONS, Registration, is_on_record, register, restore_original
from worker.db.identity.rejections import RejectionPolicy, SentAgain
from worker.db.schema.engine import in_transaction, reading
from worker.db.schema.states import NoteEffect

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.header.digests import Digests, ReceivedDigests
    from dicom_io.header.facts import Facts
    from dicom_io.inbox.store import Store
    from worker.settings import Settings


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


class Filing:
    """Files one object: its copy in the store first, its rows second.

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
        received: ReceivedDigests | None = None,
    ) -> Registration:
        """File an object under ``key``; filing it again is harmless.

        Who has read ``source`` hands its content on, who has received it its digests.
        The second copy of known bytes is deleted only when the first one is really in the store; else it replaces it, also
        where a purge took the first one.
        """
        self._store.file(source, key)
        facts, digests = content or read_object(source, received)
        rejection = read_rejection(source) if facts.sop_class_uid == KEY_OBJECT_SELECTION else None

        def write(session: Session) -> Registration:
            return register(
                session,
                facts=facts,
                sha256=digests.dataset,
                pixel_sha256=digests.pixels,
                film_header_sha256=digests.film_header,
                store_key=key,
                source=self._source,
                quiet_ms=self._clock.quiet_ms,
                max_wait_ms=self._clock.max_wait_ms,
                arrived_ms=arrived_ms,
                priority=self._priority,
                is_held=self._clock.is_held,
                rejection=rejection,
                policy=self._policy,
            )

        entry = in_transaction(self._sessions, write)
        if entry.is_duplicate and entry.store_key != key:
            return self._keep_one(entry, key, digests.dataset)
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


def is_intact(store: Store, key: str, sha256: str) -> bool:
    """Whether the store has the original under `key`, with the data set that was received."""
    try:
        return dataset_sha256(store.path(key)) == sha256
    except (NotDicom, OSError):
        return False
