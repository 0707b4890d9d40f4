"""``auscult purge``: originals and films go by age, state and free space, the oldest first.

Running it twice, or killing it anywhere, is harmless: a study's files are marked in one transaction under the lock of
the study and removed after it, and the next purge removes what a killed one left.
"""

from __future__ import annotations

import logging
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from worker.db.retention import files, runs
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import HeldFile, PurgeEnd, PurgeKind
from worker.progress import progress
from worker.retention.removing import Remover, free_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from worker.database import Database
    from worker.db.audit.record import Actor
    from worker.db.retention.files import MarkedStudy, Position
    from worker.db.retention.rules import FileRule
    from worker.retention.policy import FilePolicy
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Studies marked in one transaction: by age, and where free space is measured in between.
STUDIES, STUDIES_FOR_SPACE = 50, 5
#: Why files go.
BY_AGE, FOR_SPACE = "AGE", "FREE_SPACE"


@dataclass(frozen=True, slots=True)
class FilesToGo:
    """How many files of one kind would go, for one reason, and how many bytes that frees."""

    file: HeldFile
    reason: str
    count: int
    bytes: int
    #: Studies they belong to.
    studies: int

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {
            "file": self.file,
            "reason": self.reason,
            "studies": self.studies,
            "files": self.count,
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class FilesKept:
    """How many files of one kind stay, and why."""

    file: HeldFile
    reason: str
    count: int

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {"file": self.file, "reason": self.reason, "files": self.count}


@dataclass(frozen=True, slots=True)
class PurgeOutlook:
    """What a purge would take, and what stays."""

    go: list[FilesToGo]
    kept: list[FilesKept]
    #: Free space of the store's disk now, bytes.
    free: int
    #: Free space that the rule wants and that would not be reached, bytes.
    short: int

    @property
    def files(self) -> int:
        """How many files would go."""
        return sum(item.count for item in self.go)

    @property
    def bytes(self) -> int:
        """How many bytes that frees."""
        return sum(item.bytes for item in self.go)


@dataclass(slots=True)
class _Tally:
    count: int = 0
    bytes: int = 0
    studies: set[int] = field(default_factory=set)


def outlook(settings: Settings, database: Database, policy: FilePolicy) -> PurgeOutlook:
    """What a purge by this policy would take now; nothing is written. Raises StoreAway."""
    remover = Remover(settings, database)
    remover.check()
    free = free_bytes(settings.store)
    with database.reads() as session:
        now = files.clock(session)
        tallies: dict[tuple[HeldFile, str], _Tally] = {}
        taken: dict[HeldFile, set[str]] = {kind: set() for kind in HeldFile}

        def take(kind: HeldFile, reason: str, rule: FileRule, enough: Callable[[], bool]) -> None:
            with closing(files.keys_to_go(session, kind, rule, now)) as keys:
                for study_id, key in takewhile(lambda _: not enough(), keys):
                    if key not in taken[kind]:
                        taken[kind].add(key)
                        tally = tallies.setdefault((kind, reason), _Tally())
                        tally.count += 1
                        tally.bytes += remover.size(kind, key)
                        tally.studies.add(study_id)

        def is_enough() -> bool:
            return free + sum(tally.bytes for tally in tallies.values()) >= policy.free_bytes

        for kind, rule in policy.by_age:
            take(kind, BY_AGE, rule, lambda: False)
        if policy.free_bytes:
            for kind in (HeldFile.ORIGINAL, HeldFile.FILM):
                take(kind, FOR_SPACE, policy.space, is_enough)
        kept = [
            FilesKept(kind, reason, count)
            for kind, rule in _strictest(policy)
            for reason, count in sorted(files.kept(session, kind, rule, now).items())
        ]
    go = [FilesToGo(*key, tally.count, tally.bytes, len(tally.studies)) for key, tally in tallies.items()]
    freed = sum(item.bytes for item in go)
    return PurgeOutlook(go, kept, free, max(0, policy.free_bytes - free - freed))


def _strictest(policy: FilePolicy) -> list[tuple[HeldFile, FileRule]]:
    """For each kind the rule under which most may go."""
    rules: dict[HeldFile, FileRule] = dict(policy.by_age)
    if policy.free_bytes:
        for kind in HeldFile:
            rules[kind] = min(rules.get(kind, policy.space), policy.space, key=lambda rule: rule.min_age)
    return list(rules.items())


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge took."""

    purge_id: int
    ended_how: PurgeEnd
    studies: int
    originals: int
    films: int
    bytes: int
    #: Files that could not be removed; the next purge tries again.
    failed: int
    #: Free space that the rule wants and that was not reached, bytes.
    short: int

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {
            "purge": self.purge_id,
            "ended_how": self.ended_how,
            "studies": self.studies,
            "originals": self.originals,
            "films": self.films,
            "bytes": self.bytes,
            "not_removed": self.failed,
            "short_bytes": self.short,
        }


def purge(
    settings: Settings,
    database: Database,
    policy: FilePolicy,
    *,
    actor: Actor,
    why: str = "",
    stopping: Callable[[], bool] = lambda: False,
) -> PurgeReport:
    """Purge by this policy; raises StoreAway, and PurgeRuns while another purge runs."""
    remover = Remover(settings, database)
    remover.check()
    order = runs.Order(PurgeKind.PIXELS, actor, why, policy.as_dict())
    with running(database, order, stopping) as purge_id:
        remover.run()
        run = _Run(settings, database, files.Taker(purge_id, actor), remover, stopping)
        for kind, rule in policy.by_age:
            run.take(kind, rule)
        if policy.free_bytes:
            for kind in (HeldFile.ORIGINAL, HeldFile.FILM):
                run.take_until(kind, policy.space, policy.free_bytes)
    with database.reads() as session:
        found = runs.figures(session, purge_id)
    short = max(0, policy.free_bytes - free_bytes(settings.store)) if policy.free_bytes else 0
    figures = (found["n_studies"], found["n_originals"], found["n_films"], found["freed_bytes"])
    logger.info("purged", extra={"action": "purge", "purge": purge_id, "studies": figures[0], "bytes": figures[3]})
    return PurgeReport(purge_id, found["ended_how"], *figures, remover.failed, short)


@contextmanager
def running(database: Database, order: runs.Order, stopping: Callable[[], bool] = lambda: False) -> Iterator[int]:
    """Run one purge: it begins, unless another one runs, and ends whatever happens."""
    purge_id = in_transaction(database.sessions, lambda session: runs.begin(session, order), attempts=1)
    end = PurgeEnd.STOPPED
    try:
        yield purge_id
        end = PurgeEnd.STOPPED if stopping() else PurgeEnd.DONE
    finally:
        in_transaction(database.sessions, lambda session: runs.finish(session, purge_id, end))


class _Run:
    """One purge at work."""

    def __init__(
        self, settings: Settings, database: Database, by: files.Taker, remover: Remover, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._database = database
        self._by = by
        self._remover = remover
        self._stopping = stopping
        self._studies: set[int] = set()

    def take(self, kind: HeldFile, rule: FileRule) -> None:
        """Take all files that may go."""
        with self._database.reads() as session:
            total = files.count_studies(session, kind, rule, files.clock(session))
        done = 0
        with progress(f"purging {kind.lower()}s of studies", total) as advance:
            for count in self._steps(kind, rule, STUDIES):
                done += count
                advance(min(done, total))

    def take_until(self, kind: HeldFile, rule: FileRule, wanted_bytes: int) -> None:
        """Take files that may go, the oldest first, until the disk has this much free space."""
        if free_bytes(self._settings.store) >= wanted_bytes:
            return
        for _ in self._steps(kind, rule, STUDIES_FOR_SPACE):
            if free_bytes(self._settings.store) >= wanted_bytes:
                return

    def _steps(self, kind: HeldFile, rule: FileRule, at_once: int) -> Iterator[int]:
        """Mark and remove the files of a few studies with each step; yields how many studies were looked at."""
        with self._database.reads() as session:
            now = files.clock(session)
        after: Position | None = None
        while not self._stopping():
            with self._database.reads() as session:
                found = files.oldest(session, kind, rule, now, after, at_once)
            if not found:
                return
            after = found[-1]
            study_ids = [position.study_id for position in found]
            marked = in_transaction(self._database.sessions, self._marking(kind, rule, now, study_ids))
            self._studies |= {study.study_id for study in marked}
            self._remover.run()
            yield len(found)

    def _marking(
        self, kind: HeldFile, rule: FileRule, now: datetime, study_ids: Sequence[int]
    ) -> Callable[[Session], list[MarkedStudy]]:
        def mark(session: Session) -> list[MarkedStudy]:
            marked = files.mark(session, self._by, kind, rule, now, study_ids)
            new = {study.study_id for study in marked} - self._studies
            runs.renew(session, self._by.purge_id, n_studies=len(new))
            return marked

        return mark
