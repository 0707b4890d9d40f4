"""Steps 5 to 8 of the flow for one task: claim, gate, film, classify, then one transaction that records the answer.

Plain functions without Celery: the Celery task, ``ingest`` and ``rerun`` all call ``score_task``; ``classify`` calls
``judge_film`` on its own. Running any of them twice is harmless: the claim is a fenced lease, the film's file name is
the hash of its content, and the result is unique per task.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class LeaseOptions:
    """Lease and retry limits, in milliseconds of the database's clock."""

    lease_ms: int
    max_attempts: int
    backoff_ms: int


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
    """Claim one task, do its work and record the result; None when there was nothing to claim or the lease was lost."""
    claim = claims.claim(bench.sessions, task_id, bench.owner, bench.lease.lease_ms, bench.lease.max_attempts)
    if claim is None:
        return None
    with _kept_lease(bench, claim) as watch:
        try:
            judgement = _judge_claim(bench, claim)
        except (ModelError, ModelMismatch) as error:
            return _fail(bench, claim, Reason.MODEL_UNAVAILABLE, error)
        except OriginalMissing as error:
            return _fail(bench, claim, Reason.ORIGINAL_MISSING, error)
        except Exception as error:  # noqa: BLE001 - the task's wrapper: whatever happens, the row says so
            return _fail(bench, claim, Reason.INTERNAL_ERROR, error)
        if watch.lost.is_set():
            return None
        return _record(bench, claim, judgement)


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
    classifier, image = bench.classifier_of(claim.model), claim.image

    def load() -> Film:
        return within_memory(bench.film_memory_mb, lambda: load_film(bench.store, bench.films, image))

    return judge_film(classifier, image.facts, load, bench.policies)


def load_film(store: Store, films: FilmStore, image: ImageFacts) -> Film:
    """The stored film of this film version, else a fresh decode, else an older film (promise 5 records its version).

    Raises `FilmError` when the original cannot be made into a film, `OriginalMissing` when there is neither.
    """
    if image.film_key and image.film_version == FILM_VERSION and films.exists(image.film_key):
        return films.load(image.film_key, FILM_VERSION)
    if store.exists(image.store_key):
        return film_of_dicom(store.path(image.store_key))
    if image.film_key and image.film_version and films.exists(image.film_key):
        return films.load(image.film_key, image.film_version)
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
    if not claims.finish(bench.sessions, claim, row):
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
    claims.retry_later(
        bench.sessions,
        claim,
        error_class=error_class(error),
        error_code=reason,
        backoff_ms=bench.lease.backoff_ms * 2 ** (claim.attempts - 1),
        max_attempts=bench.lease.max_attempts,
    )
    return Outcome.FAILED


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
            except DatabaseUnavailable:
                # Whether the lease outlives the outage is told by the next renewal, and at the latest by the finish.
                logger.warning("lease not renewed, the database is away", extra={"action": "away"})

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
