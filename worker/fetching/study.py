"""Fetch one study from a PACS: retrieve it, wait until it is in SQL, compare it with what the PACS says it has."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from dicom_io.client.association import association
from dicom_io.client.query import find_context, find_images
from dicom_io.client.retrieve import Retrieval, get_study, move_study
from dicom_io.inbox.spool import Spool
from worker.batches.ingest import Ingester
from worker.db.filing import disputes, holdings
from worker.intake.filing import Filing, StudyClock, rejection_policy
from worker.stores import open_store

if TYPE_CHECKING:
    from datetime import date
    from threading import Event

    from dicom_io.client.peer import Peer
    from dicom_io.client.query import FoundStudy
    from dicom_io.client.retrieve import Retrieved
    from worker.database import Database
    from worker.settings import Settings

#: Seconds that the listener may take to register the next object that the PACS has sent.
REGISTER_S = 15.0
POLL_S = 0.2
_NONE_CAME = {
    "move": (
        "The PACS says that it has sent {sent}, but none of it is in this database: does its entry for {destination} "
        "have this machine's address and port?"
    ),
    "get": "The PACS says that it has sent {sent}, but nothing of this study has come: did it send another one?",
}


class Fate(StrEnum):
    """What became of a study."""

    #: SQL holds every object that the PACS says the study has.
    COMPLETE = "COMPLETE"
    #: Was complete before.
    PRESENT = "PRESENT"
    #: Less came than the PACS says the study has.
    INCOMPLETE = "INCOMPLETE"
    #: The PACS would not send it.
    REFUSED = "REFUSED"
    #: The PACS has no such study.
    NOT_FOUND = "NOT_FOUND"
    #: The fetch ended before its turn.
    NOT_TRIED = "NOT_TRIED"

    @property
    def is_done(self) -> bool:
        """Whether SQL holds all of it."""
        return self in (Fate.COMPLETE, Fate.PRESENT)

    @property
    def has_come(self) -> bool:
        """Whether this fetch retrieved the study, or a part of it."""
        return self in (Fate.COMPLETE, Fate.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """How to fetch."""

    peer: Peer
    method: Literal["move", "get"] = "move"
    #: AE title of the listener that C-MOVE sends to.
    destination: str = "AUSCULT"
    per_minute: float | None = None
    max_queue: int = 500


@dataclass(frozen=True, slots=True)
class Line:
    """A study in the report."""

    study_uid: str
    accession_number: str
    study_date: date | None
    fate: Fate
    #: Images in SQL.
    held: int
    #: Images that the PACS says it has; None where it did not say.
    expected: int | None
    note: str = ""
    #: What kept the PACS from sending anything of it, the same text for the same cause; "" where something came.
    cause: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For tables and JSON documents."""
        images = f"{self.held} of {'?' if self.expected is None else self.expected}"
        names = ("study_uid", "accession_number", "study_date", "fate", "held", "expected", "note")
        return {name: getattr(self, name) for name in names} | {"images": images}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the PACS says is in a study."""

    count: int
    #: Where it gave no number, the objects themselves.
    sop_uids: frozenset[str] | None = None
    sop_classes: tuple[str, ...] = ()


def line_of(study: FoundStudy, fate: Fate, held: int, expected: int | None, note: str = "", cause: str = "") -> Line:
    """The report's line of a study."""
    return Line(study.study_uid, study.accession_number, study.study_date, fate, held, expected, note, cause)


class StudyFetcher:
    """Fetches one study after another by the plan."""

    def __init__(self, settings: Settings, database: Database, plan: FetchPlan, by: Retrieval, stop: Event) -> None:
        self._database = database
        self._plan = plan
        self._by = by
        self._stop = stop
        self._inbox = Spool(settings.spool)
        self._spool = Spool(settings.home / "fetch")
        self._spool.sweep_tmp()
        self._store = open_store(settings, database)
        filing = Filing(
            database.sessions,
            self._store,
            StudyClock.of(settings),
            priority=holdings.BACKFILL_PRIORITY,
            policy=rejection_policy(settings),
        )
        self._ingester = Ingester(self._spool, filing)

    def register(self) -> None:
        """Register what C-GET retrieved, and what a killed fetch left behind."""
        self._ingester.take_leftovers()

    def expected(self, study: FoundStudy) -> Expected:
        """The objects that the PACS says a study has; asks for their list where it gave no number."""
        if study.n_images:
            return Expected(study.n_images, sop_classes=study.sop_classes)
        with association(self._by.peer, [find_context()], self._by.caller) as opened:
            images = find_images(opened, study.study_uid)
        classes = dict.fromkeys(image.sop_class_uid for image in images)
        return Expected(len(images), frozenset(image.sop_uid for image in images), tuple(classes))

    def compare(self, study: FoundStudy, expected: Expected) -> Line:
        """Compare SQL with the PACS: PRESENT where SQL has the whole study and no conflict of it is open, else NOT_TRIED."""
        held = self._held(study.study_uid, expected)
        with self._database.reads() as session:
            is_in_doubt = bool(disputes.open_numbers(session, study.study_uid))
        fate = Fate.PRESENT if held >= expected.count > 0 and not is_in_doubt else Fate.NOT_TRIED
        return line_of(study, fate, held, expected.count)

    def note(self, study: FoundStudy, expected: Expected) -> None:
        """Note in SQL how many objects the PACS says a study has."""
        with self._database.sessions.begin() as session:
            holdings.note_expected(session, study.study_uid, expected.count)

    def count(self, study_uid: str) -> int:
        """How many images of a study SQL has, and the store their originals."""
        return len(self._originals(study_uid))

    def _held(self, study_uid: str, expected: Expected) -> int:
        """How many of the objects that the PACS has SQL and the store have too."""
        held = self._originals(study_uid)
        return len(held if expected.sop_uids is None else held & expected.sop_uids)

    def _originals(self, study_uid: str) -> set[str]:
        with self._database.reads() as session:
            found = holdings.originals(session, study_uid)
        return {item.sop_uid for item in found if self._store.exists(item.store_key)}

    def fetch(self, study: FoundStudy, expected: Expected) -> Line:
        """Retrieve a study and say what became of it; raises the errors of dicom_io.client.retrieve."""
        uid = study.study_uid
        before = self._held(uid, expected)
        answer = self._retrieve(study, expected)
        held = self._arrived(uid, expected, before, answer)
        with self._database.sessions.begin() as session:
            if not before:
                holdings.put_behind(session, uid)
            if held >= expected.count > 0:
                holdings.release(session, uid)
            holdings.note_expected(session, uid, expected.count)
        line = self._judge(study, expected, held, answer)
        return line if held > before or line.fate.is_done else replace(line, cause=self._cause(answer))

    def _retrieve(self, study: FoundStudy, expected: Expected) -> Retrieved:
        if self._plan.method == "move":
            return move_study(self._by, study.study_uid, self._plan.destination)
        classes = expected.sop_classes or study.sop_classes
        try:
            return get_study(self._by, study.study_uid, classes, self._spool)
        finally:
            self.register()

    def _arrived(self, uid: str, expected: Expected, before: int, answer: Retrieved) -> int:
        """Wait until the listener has registered what the PACS has sent; returns how many objects SQL then has."""
        target = expected.count if not answer.failed else min(expected.count, before + answer.sent)
        held = self._held(uid, expected)
        # Objects that came by C-GET are left in the spool while another fetch of this data folder registers them.
        inbox = self._inbox if self._plan.method == "move" else self._spool
        may_come = answer.sent and (self._plan.method == "move" or inbox.keys(1))
        patience = time.monotonic() + (REGISTER_S if may_come else 0)
        while held < target and time.monotonic() < patience and not self._stop.wait(POLL_S):
            now = self._held(uid, expected)
            if now > held or inbox.keys(1):
                patience = time.monotonic() + REGISTER_S
            held = now
        return held

    def _cause(self, answer: Retrieved) -> str:
        """Why no object of a study came."""
        if answer.is_refused or answer.failed:
            return answer.sentence
        return _NONE_CAME[self._plan.method].format(sent="objects", destination=self._plan.destination)

    def _judge(self, study: FoundStudy, expected: Expected, held: int, answer: Retrieved) -> Line:
        if held >= expected.count > 0:
            return line_of(study, Fate.COMPLETE, held, expected.count)
        if answer.is_refused and not answer.sent:
            return line_of(study, Fate.REFUSED, held, expected.count, answer.sentence)
        note = answer.sentence if answer.failed else ""
        if not expected.count:
            note = "The PACS lists no object of this study."
        if answer.sent and not held:
            note = _NONE_CAME[self._plan.method].format(sent=answer.sent, destination=self._plan.destination)
        elif not note and held < expected.count:
            note = f"The PACS has sent {answer.sent} of {expected.count}; see the refusals of `auscult listen`."
        return line_of(study, Fate.INCOMPLETE, held, expected.count, note)
