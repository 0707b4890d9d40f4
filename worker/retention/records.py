"""``auscult purge --records``: studies go whole, with every row that names them, once their floor has passed.

Of a study the files go first, then its rows: marked and removed as by every purge, then deleted in one transaction that
looks at the rules again, with one audit event for each study. So a crash leaves a study whose files are gone and whose
rows say so, and the next purge ends it.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.db.retention import files, records, runs
from worker.db.retention.rules import Kept
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import PurgeKind
from worker.progress import progress
from worker.retention.policy import record_rule_as_dict
from worker.retention.purge import running
from worker.retention.removing import Remover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, datetime

    from sqlalchemy.orm import Session

    from worker.database import Database
    from worker.db.audit.record import Actor
    from worker.db.retention.records import Record
    from worker.db.retention.rules import RecordRule
    from worker.db.schema.states import PurgeEnd
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Studies looked at in one transaction.
STUDIES = 50


@dataclass(frozen=True, slots=True)
class RecordsOutlook:
    """How many records would go, and why the others that are old enough, or that were named, stay."""

    go: int
    kept: Counter[Kept]
    #: The next day on which a record that stays for its floor alone may go; None where there is none.
    next_floor: date | None
    #: Those that would go, as many as are named.
    named: list[Record]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {
            "studies": self.go,
            "kept": [{"reason": reason.value, "studies": count} for reason, count in sorted(self.kept.items())],
            "next_floor": None if self.next_floor is None else str(self.next_floor),
            "named": [{"study_uid": each.study_uid, "side": each.side, "floor": each.floor} for each in self.named],
        }


#: So many studies are named.
NAMED = 20


def outlook(database: Database, rule: RecordRule, study_uids: Sequence[str] = ()) -> RecordsOutlook:
    """What a purge of records would take now; nothing is written."""
    go, kept, named = 0, Counter[Kept](), list[records.Record]()
    floors: list[date] = []
    with database.reads() as session:
        now = files.clock(session)
        for page in _pages(session, rule, now, study_uids):
            for each in page:
                if each.reason is None:
                    go += 1
                    named += [each] if len(named) < NAMED else []
                else:
                    kept[each.reason] += 1
                    floors += [each.floor] if each.floor and each.files_may_go else []
    return RecordsOutlook(go, kept, min(floors, default=None), named)


def _pages(session: Session, rule: RecordRule, now: datetime, study_uids: Sequence[str]) -> Iterator[list[Record]]:
    after = 0
    while ids := records.candidates(session, rule, now, after, STUDIES, study_uids):
        after = ids[-1]
        yield records.records(session, ids, rule, now)


@dataclass(frozen=True, slots=True)
class RecordsReport:
    """What a purge of records took."""

    purge_id: int
    ended_how: PurgeEnd
    studies: int
    originals: int
    films: int
    bytes: int
    #: Files that could not be removed; their studies stay, and the next purge tries again.
    failed: int

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
        }


@dataclass(frozen=True, slots=True)
class RecordsOrder:
    """Who orders a purge of records, why, by which rule, and of which studies alone, if any are named."""

    rule: RecordRule
    actor: Actor
    why: str = ""
    study_uids: Sequence[str] = ()


def purge_records(
    settings: Settings, database: Database, order: RecordsOrder, stopping: Callable[[], bool] = lambda: False
) -> RecordsReport:
    """Remove the studies whose floor has passed; raises StoreAway, and PurgeRuns while another purge runs."""
    remover = Remover(settings, database)
    remover.check()
    named = {"study_uids": list(order.study_uids)} if order.study_uids else {}
    rules = record_rule_as_dict(order.rule) | named
    with running(database, runs.Order(PurgeKind.RECORDS, order.actor, order.why, rules), stopping) as purge_id:
        remover.run()
        _Run(database, order, purge_id, remover).take_all(stopping)
    with database.reads() as session:
        found = runs.figures(session, purge_id)
    figures = (found["n_records"], found["n_originals"], found["n_films"], found["freed_bytes"])
    logger.info("records purged", extra={"action": "purge_records", "purge": purge_id, "studies": figures[0]})
    return RecordsReport(purge_id, found["ended_how"], *figures, remover.failed)


class _Run:
    """One purge of records at work."""

    def __init__(self, database: Database, order: RecordsOrder, purge_id: int, remover: Remover) -> None:
        self._database = database
        self._rule = order.rule
        self._study_uids = order.study_uids
        self._order = records.Deletion(files.Taker(purge_id, order.actor), order.why, order.rule.below_floor)
        self._remover = remover

    def take_all(self, stopping: Callable[[], bool]) -> None:
        with self._database.reads() as session:
            now = files.clock(session)
            total = records.count_candidates(session, self._rule, now, self._study_uids)
        after, done = 0, 0
        with progress("purging studies", total) as advance:
            while not stopping():
                with self._database.reads() as session:
                    ids = records.candidates(session, self._rule, now, after, STUDIES, self._study_uids)
                if not ids:
                    return
                after = ids[-1]
                in_transaction(self._database.sessions, partial(self._mark, ids))
                self._remover.run()
                in_transaction(self._database.sessions, partial(self._delete, ids))
                done += len(ids)
                advance(done)

    def _mark(self, ids: Sequence[int], session: Session) -> None:
        going = self._going(session, ids)
        marked = records.mark_files(session, self._order.by, going)
        runs.renew(session, self._order.by.purge_id, n_studies=len({study.study_id for study in marked}))

    def _delete(self, ids: Sequence[int], session: Session) -> None:
        going = [each for each in self._going(session, ids) if not records.has_files(session, each.study_ids)]
        for each in going:
            records.delete_record(session, each, self._order)
        runs.renew(session, self._order.by.purge_id, n_records=len(going))

    def _going(self, session: Session, ids: Sequence[int]) -> list[Record]:
        return records.going(session, ids, self._rule, files.clock(session))
