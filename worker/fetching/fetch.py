"""``auscult fetch``: studies of the past from a PACS, each checked against what the PACS says it has.

A fetch keeps no state of its own: it leaves out the studies that SQL has completely, so the same command continues where
an earlier one ended, in whatever way.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from dicom_io.client.association import AssociationLost, PeerRefused, association
from dicom_io.client.connect import ConnectionStage
from dicom_io.client.echo import echo
from dicom_io.client.peer import Peer
from dicom_io.client.query import QueryFailed, find_context, find_modalities, find_studies
from dicom_io.client.retrieve import Retrieval
from dicom_io.errors import PeerUnreachable
from worker.db.audit.codes import Act, EventOutcome
from worker.db.audit.record import Actor, record
from worker.db.filing import holdings
from worker.db.tasks.workers import live_workers
from worker.errors import WorkerError
from worker.fetching.pace import Pace, QueueState
from worker.fetching.questions import Question, every_study
from worker.fetching.study import Fate, FetchPlan, Line, StudyFetcher, line_of
from worker.fetching.verdicts import ask_about
from worker.logs import error_class
from worker.models.active import ensure_active_model
from worker.peers import caller_of
from worker.progress import noted, progress
from worker.runfiles import read_port
from worker.settings import port_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from dicom_io.client.query import Answers, FoundStudy, StudyKeys
    from worker.database import Database
    from worker.fetching.study import Expected
    from worker.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: A fetch ends after so many studies in a row of which nothing came for the same cause.
SAME_FAILURES = 3
#: A PACS may have to read a study from tape before it answers.
ANSWER_S = 300.0


class CannotFetch(WorkerError):
    """A fetch cannot begin; the message says what to do."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """The studies that the PACS says it has."""

    studies: tuple[FoundStudy, ...]
    #: Names of questions without an answer.
    not_found: tuple[str, ...]
    #: Days or keys for which the PACS gave only a part of its answers.
    cut_off: tuple[str, ...]


@dataclass(slots=True)
class FetchReport:
    """The result of a fetch."""

    lines: list[Line]
    #: Why the fetch ended early; "" if it did not.
    problem: str = ""


class Fetch:
    """One run of the command."""

    def __init__(self, settings: Settings, database: Database, plan: FetchPlan, stop: Event) -> None:
        self._settings = settings
        self._database = database
        self._plan = plan
        self._stop = stop
        self._by = Retrieval(plan.peer, replace(caller_of(settings), answer_s=ANSWER_S))
        self._pace = Pace(plan.per_minute, plan.max_queue, QueueState(self.queued, self.live_workers), stop)
        self._fetcher = StudyFetcher(settings, database, plan, self._by, stop)

    def queued(self) -> int:
        """How many images wait for their first answer."""
        with self._database.reads() as session:
            return holdings.open_live_tasks(session)

    def live_workers(self) -> int:
        """How many workers are alive."""
        with self._database.reads() as session:
            return live_workers(session, self._settings.silent_after_ms)

    def ask(self, asked: Sequence[Question]) -> Listing:
        """Ask the PACS every question; raises CannotFetch where it does not answer."""
        try:
            listing = self._ask(asked)
        except CannotFetch:
            self._audit(Act.PEER_QUERIED, EventOutcome.MINOR_FAILURE, questions=len(asked))
            raise
        self._audit(Act.PEER_QUERIED, questions=len(asked), found=len(listing.studies))
        return listing

    def _audit(
        self, act: Act, outcome: EventOutcome = EventOutcome.SUCCESS, study_uid: str = "", **detail: object
    ) -> None:
        told = {"peer": str(self._plan.peer), "method": self._plan.method, **detail}
        with self._database.sessions.begin() as session:
            record(session, act, Actor.user(), outcome=outcome, study_uid=study_uid, detail=told)

    def _ask(self, asked: Sequence[Question]) -> Listing:
        found: dict[str, FoundStudy] = {}
        names: dict[str, bool] = {}
        cut_off: list[str] = []
        with progress("asking", len(asked)) as advance:
            for number, question in enumerate(asked, start=1):
                if self._stop.is_set():
                    break
                studies, lost = self._every_study(question)
                found.update(studies)
                # A name is asked for once for each modality; one answer is enough.
                names[question.name] = names.get(question.name, False) or bool(studies)
                cut_off += [question.name or f"{keys.study_date} {keys.study_time}".strip() for keys in lost]
                advance(number)
        not_found = tuple(name for name, is_found in names.items() if name and not is_found)
        return Listing(tuple(found.values()), not_found, tuple(cut_off))

    def compare(self, study: FoundStudy) -> Line:
        """How much of a study SQL has, PRESENT where that is all of it; raises CannotFetch."""
        try:
            expected = self._patiently(lambda: self._fetcher.expected(study))
        except (PeerUnreachable, QueryFailed) as error:
            raise CannotFetch(f"{self._plan.peer}: {error}") from error
        return self._fetcher.compare(study, expected)

    def fetch(self, listing: Listing) -> FetchReport:
        """Fetch every study that SQL does not have completely; raises CannotFetch where the fetch cannot begin."""
        ensure_active_model(self._settings, self._database)
        self._fetcher.register()
        if self._plan.method == "move":
            self._check_listener()
        report = FetchReport([])
        began, images = time.monotonic(), 0
        with noted("fetching", len(listing.studies)) as advance:
            for number, study in enumerate(listing.studies, start=1):
                line = self._next(study, report)
                if line.fate not in (Fate.PRESENT, Fate.NOT_TRIED):
                    outcome = EventOutcome.SUCCESS if line.fate is Fate.COMPLETE else EventOutcome.MINOR_FAILURE
                    told = {"fate": line.fate.value, "held": line.held, "expected": line.expected}
                    self._audit(Act.STUDY_FETCHED, outcome, study.study_uid, **told)
                self._ask_about(study, report)
                report.lines.append(line)
                report.problem = report.problem or self._hopeless(report.lines)
                images += line.held if line.fate is not Fate.PRESENT else 0
                minutes = max(time.monotonic() - began, 1.0) / 60
                advance(number, f"{images} images, {number / minutes:.0f} studies/min")
        return report

    def _hopeless(self, lines: Sequence[Line]) -> str:
        """Why going on is useless; "" while it may help. Studies that were complete before say nothing about the PACS."""
        tried = [line for line in lines if line.fate is not Fate.PRESENT][-SAME_FAILURES:]
        causes = {line.cause for line in tried}
        if len(tried) < SAME_FAILURES or len(causes) > 1 or "" in causes:
            return ""
        (cause,) = causes
        return (
            f"{self._plan.peer}: nothing came of {SAME_FAILURES} studies in a row for the same cause, so the fetch has "
            f"ended. {cause} Fix that, then run the same command: it continues where this one ended."
        )

    def _every_study(self, question: Question) -> tuple[dict[str, FoundStudy], list[StudyKeys]]:
        try:
            return every_study(lambda keys: self._patiently(lambda: self._ask_once(keys)), question.keys)
        except (PeerUnreachable, QueryFailed) as error:
            raise CannotFetch(f"{self._plan.peer}: {error}") from error

    def _ask_once(self, keys: StudyKeys) -> Answers:
        with association(self._plan.peer, [find_context()], self._by.caller) as opened:
            answers = find_studies(opened, keys)
            if not keys.modality:
                return answers
            # Many PACS ignore this key without saying so.
            sure = tuple(
                study
                for study in answers.studies
                if keys.modality in (study.modalities or find_modalities(opened, study.study_uid))
            )
            return replace(answers, studies=sure)

    def _next(self, study: FoundStudy, report: FetchReport) -> Line:
        """Fetch a study unless the fetch has ended; a PACS that is away ends it."""
        if report.problem or self._stop.is_set():
            return line_of(study, Fate.NOT_TRIED, 0, study.n_images)
        before = self._fetcher.count(study.study_uid)
        try:
            expected = self._patiently(lambda: self._fetcher.expected(study))
            return self._fetched(study, expected)
        except QueryFailed as failed:
            return line_of(study, Fate.REFUSED, 0, study.n_images, str(failed), str(failed))
        except AssociationLost as lost:
            held = self._fetcher.count(study.study_uid)
            return line_of(study, Fate.INCOMPLETE, held, study.n_images, str(lost), "" if held > before else str(lost))
        except PeerUnreachable as away:
            report.problem = f"{self._plan.peer}: {away}"
            return line_of(study, Fate.NOT_TRIED, 0, study.n_images)

    def _ask_about(self, study: FoundStudy, report: FetchReport) -> None:
        """Ask the PACS about the open conflicts of a study; without an answer they stay open."""
        if report.problem or self._stop.is_set():
            return
        try:
            self._patiently(lambda: ask_about(self._database, self._by, study.study_uid))
        except (PeerUnreachable, QueryFailed) as error:
            logger.warning(
                "the PACS does not say whose the study is", extra={"action": "conflict", "cause": error_class(error)}
            )

    def _fetched(self, study: FoundStudy, expected: Expected) -> Line:
        line = self._fetcher.compare(study, expected)
        if line.fate is Fate.PRESENT:
            self._fetcher.note(study, expected)
            return line
        self._pace.wait()
        if self._stop.is_set():
            return line
        return self._patiently(lambda: self._fetcher.fetch(study, expected))

    def _patiently(self, call: Callable[[], T]) -> T:
        """Try again, after growing pauses, while the PACS is away or drops the association."""
        for attempt in count(1):
            try:
                return call()
            except PeerUnreachable as away:
                is_final = isinstance(away, PeerRefused) and not away.is_transient
                if is_final or attempt >= self._settings.max_attempts or self._stop.is_set():
                    raise
                logger.warning("the PACS is away, trying again", extra={"action": "retry", "attempt": attempt})
                self._stop.wait(self._settings.retry_backoff_s * 2 ** (attempt - 1))
        raise AssertionError

    def _check_listener(self) -> None:
        """Raise CannotFetch where C-MOVE sends to our own listener and none listens; one on another machine is not checked."""
        settings = self._settings
        if self._plan.destination != settings.ae_title:
            return
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104 - compared, not bound
        port = read_port(port_file(settings)) or settings.port
        # A listener that takes the connection listens, whether it accepts the association or not.
        own = Peer(settings.ae_title, host, port or 1, is_tls=settings.tls is not None)
        answer = echo(own, replace(self._by.caller, timeout_s=5.0))
        if ConnectionStage.CONNECTED not in {step.stage for step in answer.steps}:
            msg = (
                f"nothing listens on {host} port {port}, so C-MOVE would bring nothing here: start `auscult up` or "
                "`auscult listen`, name the listener elsewhere by --destination, or use --method get"
            )
            raise CannotFetch(msg)
