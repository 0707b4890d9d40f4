"""Steps 5 to 8 of the flow for one task: claim, gate, film, classify, then one transaction that records the answer.

Plain functions without Celery: the Celery task, ``ingest`` and ``rerun`` all call ``score_task``; ``classify`` calls
``judge_film`` on its own. Running any of them twice is harmless: the claim is a fenced lease, the film's file name is
the hash of its content, and the result is unique per task.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from dicom_io.errors import SpoolError
from dicom_io.film import FILM_VERSION, Film, FilmError, film_of_dicom
from dicom_io.gate import DEFAULT_POLICIES, AgeRange, GateFacts, Policies, Stage, Subject, judge
from dicom_io.picture import look_of
from dicom_io.reasons import Outcome, Reason
from model.errors import ModelError
from worker.db import claims
from worker.db.claims import Claim, ResultRow
from worker.errors import DatabaseUnavailable, ModelMismatch
from worker.logs import error_class
from worker.memory import within_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.store import Store
    from model.engine import Classifier, Score
    from worker.db.claims import ImageFacts
    from worker.films import FilmStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The longest pause of a task that waits for its surroundings.
LONGEST_WAIT_MS = 30_000
#: How long the end of a task is tried to be written while the database is away; less than a stop may take.
INSIST_S = 45.0
INSIST_PAUSE_S = 0.5
#: This machine, and not the film, is out of something.
_SHORT = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})
#: A machine that cannot give this much is short of memory whatever the film.
_LITTLE_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class LeaseOptions:
    """Lease and retry limits, in milliseconds of the database's clock."""

    lease_ms: int
    max_attempts: int
    backoff_ms: int


class Outages:
    """Since when what a film needs has been away, as one worker sees it; a task waits as long again as that."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[Reason, float] = {}

    def pause_ms(self, reason: Reason, least_ms: int) -> int:
        """Note that something is away; how long a task shall wait for it."""
        now = self._clock()
        away_ms = round((now - self._since.setdefault(reason, now)) * 1000)
        return min(max(least_ms, away_ms), LONGEST_WAIT_MS)

    def over(self) -> None:
        """Note that a film found all it needs."""
        self._since.clear()

    def longest(self) -> tuple[Reason, float] | None:
        """What has been away longest, and for how many seconds; None while nothing is."""
        if not self._since:
            return None
        reason = min(self._since, key=lambda one: self._since[one])
        return reason, self._clock() - self._since[reason]


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything a worker needs to score a task."""

    owner: str
    sessions: sessionmaker[Session]
    store: Store
    films: FilmStore
    classifier_of: Callable[[str], Classifier]
    lease: LeaseOptions
    engine: str
    policies: Policies
    #: What reading one film may take, MiB.
    film_memory_mb: int
    outages: Outages = field(default_factory=Outages)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate, the film and the network said about one image."""

    reason: Reason | None
    flags: tuple[Reason, ...] = ()
    film: Film | None = None
    score: Score | None = None
    decode_ms: float | None = None
    inference_ms: float | None = None
    #: How unlike the training films the film is, where the model can tell; kept when that is why it was refused.
    unlikeness: float | None = None

    @property
    def outcome(self) -> Outcome:
        """OK unless there is a reason."""
        outcome = self.reason.outcome if self.reason else Outcome.OK
        return outcome or Outcome.FAILED


@dataclass(slots=True)
class _Watch:
    """Stops the work of a claim whose lease was lost to another worker."""

    lost: threading.Event = field(default_factory=threading.Event)


def score_task(bench: Bench, task_id: int) -> Outcome | None:
    """Claim one task, do its work and record the result; None when there was nothing to claim or the lease was lost.

    None too when the task was put back because its surroundings fail and not the film: that is no attempt at it.
    """
    claim = claims.claim(bench.sessions, task_id, bench.owner, bench.lease.lease_ms, bench.lease.max_attempts)
    if claim is None:
        return None
    with _kept_lease(bench, claim) as watch:
        try:
            judgement = _judge_claim(bench, claim)
            return None if watch.lost.is_set() else _record(bench, claim, judgement)
        except OriginalMissing as error:
            return _fail(bench, claim, Reason.ORIGINAL_MISSING, error)
        except Exception as error:  # noqa: BLE001 - the task's wrapper: whatever happens, the row says so
            reason = _of_the_surroundings(error)
            if reason is None:
                return _fail(bench, claim, Reason.INTERNAL_ERROR, error)
            _put_back(bench, claim, reason, error)
            return None


def _of_the_surroundings(error: Exception) -> Reason | None:
    """What is away or used up that every film needs; None for a fault of the film, or of ours."""
    if isinstance(error, ModelError | ModelMismatch):
        return Reason.MODEL_UNAVAILABLE
    if isinstance(error, SpoolError):
        return Reason.STORE_UNAVAILABLE
    if isinstance(error, DatabaseUnavailable) or (isinstance(error, OSError) and error.errno in _SHORT):
        return Reason.INTERNAL_ERROR
    return Reason.INTERNAL_ERROR if isinstance(error, MemoryError) and _is_short_of_memory() else None


def _is_short_of_memory() -> bool:
    try:
        bytearray(_LITTLE_MEMORY)
    except MemoryError:
        return True
    return False


def judge_film(
    classifier: Classifier, facts: GateFacts, load: Callable[[], Film], policies: Policies = DEFAULT_POLICIES
) -> Judgement:
    """Gate, film and network for one image; ``load`` decodes it only when the header's rules let it through.

    The rules of each stage are asked as soon as what they look at is known; ``policies`` say what becomes of a film
    that one of them speaks against.
    """
    subject = Subject(facts, AgeRange(*classifier.bundle.age_years))
    header = judge(subject, Stage.HEADER, policies)
    if header.reason:
        return Judgement(header.reason)
    began = time.perf_counter()
    try:
        film = load()
    except FilmError as error:
        return Judgement(error.reason, header.flags)
    decode_ms = _ms_since(began)
    subject = replace(subject, look=look_of(film.pixels))
    picture = judge(subject, Stage.PICTURE, policies)
    if picture.reason:
        return Judgement(picture.reason, header.flags, film, decode_ms=decode_ms)
    began = time.perf_counter()
    score = classifier.score(film.pixels)
    network = judge(replace(subject, unlikeness=score.unlikeness), Stage.NETWORK, policies)
    return Judgement(
        network.reason,
        tuple(dict.fromkeys(header.flags + picture.flags + network.flags)),
        film,
        None if network.reason else score,
        decode_ms,
        _ms_since(began),
        score.unlikeness,
    )


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


class OriginalMissing(Exception):
    """Neither the stored original nor its film is on disk."""


def _judge_claim(bench: Bench, claim: Claim) -> Judgement:
    image = claim.image
    try:
        classifier = bench.classifier_of(claim.model)
    except OSError as error:
        raise ModelError from error

    def load() -> Film:
        return within_memory(bench.film_memory_mb, lambda: load_film(bench.store, bench.films, image))

    return judge_film(classifier, image.facts, load, bench.policies)


def load_film(store: Store, films: FilmStore, image: ImageFacts) -> Film:
    """The stored film of this film version, else a fresh decode, else an older film (promise 5 records its version).

    Raises `FilmError` when the original cannot be made into a film, `StoreAway` when the store or the films are not
    there as a whole, and `OriginalMissing` when they are, and hold neither that can be read.
    """
    for version in (FILM_VERSION, None, image.film_version):
        try:
            if version is None:
                if store.exists(image.store_key):
                    return film_of_dicom(store.path(image.store_key))
            elif version == image.film_version and image.film_key and films.exists(image.film_key):
                return films.load(image.film_key, version)
        except (OSError, SpoolError) as error:
            # One file of a disk that fails, or all of them: the markers tell. Another way may lead to the film.
            if isinstance(error, OSError) and error.errno in _SHORT:
                raise
    store.check()
    if image.film_key:
        films.check()
    raise OriginalMissing


def _record(bench: Bench, claim: Claim, judgement: Judgement) -> Outcome | None:
    """Film first, rows second: a crash between the two leaves a file that the next attempt writes again."""
    film, score = judgement.film, judgement.score
    film_key = bench.films.save(film) if film else None
    row = ResultRow(
        outcome=judgement.outcome,
        reason_code=judgement.reason,
        flags=judgement.flags,
        probability=score.probability if score else None,
        logit=score.logit if score else None,
        threshold=score.threshold if score else None,
        label=score.label if score else None,
        film_sha256=film.sha256 if film else None,
        film_version=film.version if film else None,
        film_key=film_key,
        decode_ms=judgement.decode_ms,
        inference_ms=judgement.inference_ms,
        engine=bench.engine if judgement.inference_ms is not None else None,
        band=score.band if score else None,
        unlikeness=judgement.unlikeness,
        decoder=film.decoder or None if film else None,
    )
    bench.outages.over()
    if not _insist(lambda: claims.finish(bench.sessions, claim, row)):
        logger.warning("lease lost, result dropped", extra={"action": "fenced", "task": claim.task_id})
        return None
    logger.info(
        "image judged",
        extra={"action": "judge", "task": claim.task_id, "outcome": row.outcome, "reason": judgement.reason},
    )
    return judgement.outcome


def _fail(bench: Bench, claim: Claim, reason: Reason, error: BaseException) -> Outcome:
    """Put the task back for a later attempt, or end it FAILED when its attempts are used up."""
    logger.warning(
        "attempt failed",
        extra={"action": "retry", "task": claim.task_id, "attempt": claim.attempts, "reason": reason},
        exc_info=error,
    )
    _insist(
        lambda: claims.retry_later(
            bench.sessions,
            claim,
            error_class=error_class(error),
            error_code=reason,
            backoff_ms=bench.lease.backoff_ms * 2 ** (claim.attempts - 1),
            max_attempts=bench.lease.max_attempts,
        )
    )
    return Outcome.FAILED


def _put_back(bench: Bench, claim: Claim, reason: Reason, error: BaseException) -> None:
    """Put the task back, its attempts as they were: the row says what it waits for."""
    pause_ms = bench.outages.pause_ms(reason, bench.lease.backoff_ms)
    logger.warning(
        "film waits for its surroundings",
        extra={"action": "put_back", "task": claim.task_id, "reason": reason, "pause_ms": pause_ms},
        exc_info=error,
    )
    _insist(
        lambda: claims.put_back(
            bench.sessions, claim, error_class=error_class(error), error_code=reason, pause_ms=pause_ms
        )
    )


def _insist(write: Callable[[], T]) -> T:
    """Write how a task ended, again while the database is away: left to its lease it would lose an attempt."""
    deadline = time.monotonic() + INSIST_S
    while True:
        try:
            return write()
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(INSIST_PAUSE_S)


@contextmanager
def _kept_lease(bench: Bench, claim: Claim) -> Iterator[_Watch]:
    """Renew the lease every third of its time while the work goes on."""
    watch, done = _Watch(), threading.Event()

    def renew() -> None:
        while not done.wait(bench.lease.lease_ms / 3000):
            try:
                if not claims.renew(bench.sessions, claim, bench.lease.lease_ms):
                    watch.lost.set()
                    return
            except Exception:
                # Whether the lease outlives the outage is told by the next renewal, and at the latest by the finish.
                logger.warning("lease not renewed", extra={"action": "away"}, exc_info=True)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
