"""``auscult patient erase``: what is held of one person goes, but for what has to stay, which is named with its reason.

In the order of a purge: files first (originals, films, objects in quarantine), then the rows and the audit event in one
transaction that looks at the rules again. A crash leaves rows that say which files are gone; the same command ends it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dicom_io.inbox.quarantine import Quarantine
from worker.db.audit.codes import Act, EventOutcome
from worker.db.audit.record import record
from worker.db.retention import files, people, records, runs, texts
from worker.db.retention.rules import Hold, Kept
from worker.db.retention.scrub import overwrite_deleted
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import PurgeKind
from worker.retention.held_files import Place, held_files
from worker.retention.policy import record_rule_as_dict
from worker.retention.purge import running
from worker.retention.removing import Remover

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.orm import Session

    from worker.database import Database
    from worker.db.audit.record import Actor
    from worker.db.retention.people import Person
    from worker.db.retention.records import Record
    from worker.db.retention.rules import RecordRule
    from worker.retention.held_files import HeldFile
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Why something stays, in a sentence for the person who asked.
SENTENCES = {
    Kept.UNFINISHED: "work on it is open; try again when it has ended",
    Kept.CONFLICT: "it is in a conflict about its patient; decide that first (auscult conflict resolve)",
    Kept.WITHDRAWN: "a withdrawn film is kept for AUSCULT_WITHDRAWN_DAYS",
    Kept.UNDELIVERED: "an answer is being delivered; try again when it has ended (auscult deliver list)",
    Kept.COMMITTED: "storage commitment was given",
    Kept.NO_FLOOR: "the site has not set AUSCULT_KEEP_YEARS and AUSCULT_KEEP_UNTIL_BIRTHDAY",
    Kept.FLOOR: "the law of retention keeps records until then",
    Kept.BOUND: "it is a part of the record of another study or patient",
}


@dataclass(frozen=True, slots=True)
class Stays:
    """Something that is held of the person and stays, with every reason."""

    what: str
    #: Study Instance UID, or the key of a file.
    name: str
    holds: tuple[Hold, ...]
    #: Whether its originals and films go all the same.
    files_go: bool = False

    def as_rows(self) -> list[dict[str, Any]]:
        """One row for each reason."""
        return [
            {
                "what": self.what,
                "name": self.name,
                **hold.as_dict(),
                "sentence": SENTENCES[hold.reason],
                "files_go": self.files_go,
            }
            for hold in self.holds
        ]


@dataclass(frozen=True, slots=True)
class ErasureOutlook:
    """What an erasure would take of a person, and what stays."""

    studies: list[Record]
    set_aside: list[HeldFile]
    stays: list[Stays]
    #: The destinations that have answers about the person; what is there is theirs to delete.
    recipients: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is held of the person."""
        return not (self.studies or self.set_aside or self.stays)

    @property
    def takes_something(self) -> bool:
        """Whether anything would go."""
        return bool(self.studies or self.set_aside or any(each.files_go for each in self.stays))

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {
            "studies": [{"study_uid": each.study_uid, "side": each.side} for each in self.studies],
            "quarantined": [each.key for each in self.set_aside],
            "stays": [row for each in self.stays for row in each.as_rows()],
            "recipients": self.recipients,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """Whose data are to be erased, by which rule, and where objects without rows may lie."""

    patient_id: str
    issuer: str | None
    rule: RecordRule
    spools: Mapping[str, Path]

    def person(self, session: Session) -> Person:
        """The person as the database knows them now."""
        return people.find(session, self.patient_id, self.issuer)


def outlook(database: Database, request: Request) -> ErasureOutlook:
    """What an erasure would take now; nothing is written. Raises UsageError, OSError."""
    with database.reads() as session:
        person = request.person(session)
        found = _records(session, person, request.rule, files.clock(session))
        recipients = _recipients(session, person)
    return _outlook(found, person, held_files(request.spools, person), recipients)


def _records(session: Session, person: Person, rule: RecordRule, now: datetime) -> list[Record]:
    """The records of a person; one that another person's study is a part of stays with that."""
    found = records.records(session, person.study_ids, rule, now)
    bound = Hold(Kept.BOUND)
    return [
        each if set(each.study_ids) <= set(person.study_ids) else replace(each, holds=(*each.holds, bound))
        for each in found
    ]


def _recipients(session: Session, person: Person) -> list[str]:
    return sorted({row["name"] for row in people.recipients(session, person)})


def _outlook(
    found: Sequence[Record], person: Person, held: Sequence[HeldFile], recipients: list[str]
) -> ErasureOutlook:
    stays = [
        Stays("study", each.study_uid, each.holds, files_go=_files_go(each, person)) for each in found if each.holds
    ]
    stays += [Stays("object", uid, (Hold(Kept.BOUND),)) for uid in person.elsewhere_uids]
    stays += [Stays(each.place.lower(), each.key, (Hold(Kept.UNFINISHED),)) for each in held if not _may_go(each)]
    going = [each for each in found if not each.holds]
    return ErasureOutlook(going, [each for each in held if _may_go(each)], stays, recipients)


def _may_go(each: HeldFile) -> bool:
    return each.place is Place.QUARANTINE and each.is_readable


def _files_go(each: Record, person: Person) -> bool:
    return each.files_may_go and set(each.study_ids) <= set(person.study_ids)


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What an erasure took, and what is held of the person still."""

    purge_id: int
    studies: int
    originals: int
    films: int
    quarantined: int
    #: Texts of other rows that named the person and were replaced.
    texts: int
    stays: list[Stays]
    #: The destinations that have answers about the person.
    recipients: list[str]
    #: Files that could not be removed; their studies stay until the command is run again.
    failed: int
    #: Whether the database file was written anew without the deleted rows; True on PostgreSQL.
    is_overwritten: bool

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be tried again."""
        return not self.failed and self.is_overwritten

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {
            "purge": self.purge_id,
            "studies": self.studies,
            "originals": self.originals,
            "films": self.films,
            "quarantined": self.quarantined,
            "texts": self.texts,
            "not_removed": self.failed,
            "database_overwritten": self.is_overwritten,
            "stays": [row for each in self.stays for row in each.as_rows()],
            "recipients": self.recipients,
        }


def erase(settings: Settings, database: Database, request: Request, *, actor: Actor, why: str) -> ErasureReport:
    """Erase what may be erased of a person; raises UsageError, StoreAway, OSError, and PurgeRuns while a purge runs."""
    remover = Remover(settings, database)
    remover.check()
    rules = record_rule_as_dict(request.rule)
    with running(database, runs.Order(PurgeKind.PERSON, actor, why, rules)) as purge_id:
        run = _Run(request, records.Deletion(files.Taker(purge_id, actor), why, request.rule.below_floor))
        remover.run()
        in_transaction(database.sessions, run.mark)
        remover.run()
        discarded = _discard(database, request, run)
        held = _files_of(database, request)
        done = in_transaction(database.sessions, partial(run.delete, _Files(held, discarded, remover.failed)))
    is_overwritten = overwrite_deleted(database.engine)
    with database.reads() as session:
        found = runs.figures(session, purge_id)
    logger.info("a person's data erased", extra={"action": "erase", "purge": purge_id, "studies": done.studies})
    figures = (done.studies, found["n_originals"], found["n_films"], discarded, done.texts)
    return ErasureReport(purge_id, *figures, done.stays, done.recipients, remover.failed, is_overwritten)


def _files_of(database: Database, request: Request) -> list[HeldFile]:
    """The person's files without rows."""
    with database.reads() as session:
        person = request.person(session)
    return held_files(request.spools, person)


def _discard(database: Database, request: Request, run: _Run) -> int:
    """Delete the person's objects in quarantine; each is on record before it goes."""
    found = [each for each in _files_of(database, request) if _may_go(each)]
    for each in found:
        in_transaction(database.sessions, partial(run.note_discard, each))
        Quarantine(each.root).discard(each.key)
    return len(found)


@dataclass(frozen=True, slots=True)
class _Files:
    """Files without rows that are there still, how many went, and how many files could not be removed."""

    held: Sequence[HeldFile]
    discarded: int
    failed: int


@dataclass(frozen=True, slots=True)
class _Done:
    studies: int
    texts: int
    stays: list[Stays]
    recipients: list[str]


class _Run:
    """One erasure at work."""

    def __init__(self, request: Request, order: records.Deletion) -> None:
        self._request = request
        self._order = order

    def mark(self, session: Session) -> None:
        """Mark the files that go: those of studies that go, and of those that stay for their time alone."""
        person, found = self._held(session)
        marked = records.mark_files(session, self._order.by, [each for each in found if _files_go(each, person)])
        runs.renew(session, self._order.by.purge_id, n_studies=len({study.study_id for study in marked}))

    def note_discard(self, each: HeldFile, session: Session) -> None:
        """Record that an object in quarantine is deleted."""
        detail = {"key": each.key, "spool": each.spool, "purge": self._order.by.purge_id}
        record(
            session,
            Act.QUARANTINE_DISCARDED,
            self._order.by.actor,
            study_uid=each.study_uid,
            sop_uid=each.sop_uid,
            detail=detail,
        )

    def delete(self, of: _Files, session: Session) -> _Done:
        """Delete the rows that may go, replace texts that name the person, and record the erasure."""
        person, found = self._held(session)
        named = texts.named(session, person)
        recipients = _recipients(session, person)
        going = [each for each in found if not each.holds and not records.has_files(session, each.study_ids)]
        for each in going:
            records.delete_record(session, each, self._order)
        replaced = texts.replace(session, named)
        stays = _outlook([each for each in found if each.holds], person, of.held, recipients).stays
        left = [each for each in found if not each.holds and each not in going]
        if not (stays or left):
            people.forget_merges(session, person)
        reasons = sorted({hold.reason.value for each in stays for hold in each.holds})
        record(
            session,
            Act.PATIENT_ERASED,
            self._order.by.actor,
            outcome=EventOutcome.MINOR_FAILURE if left or of.failed else EventOutcome.SUCCESS,
            patient_key=person.key,
            detail={
                "purge": self._order.by.purge_id,
                "studies": len(going),
                "quarantined": of.discarded,
                "texts": replaced,
                "stays": len(stays),
                # Without days, from which the birth date of a child could be computed.
                "reasons": reasons,
                "recipients": recipients,
                "not_removed": of.failed,
                "below_floor": self._order.below_floor,
                "why": self._order.why,
            },
        )
        runs.renew(session, self._order.by.purge_id, n_records=len(going))
        return _Done(len(going), replaced, stays, recipients)

    def _held(self, session: Session) -> tuple[Person, list[Record]]:
        """The person and their records, under the locks of all their rows."""
        held: set[int] = set()
        while True:
            person = self._request.person(session)
            found = _records(session, person, self._request.rule, files.clock(session))
            missing = {study_id for each in found for study_id in each.study_ids} - held
            if not missing:
                return person, found
            files.lock_studies(session, sorted(missing))
            held |= missing
