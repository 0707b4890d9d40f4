"""Steps 5 to 8 of the flow for claimed tasks: gate, film and network for each, then one transaction that records them all.

Plain functions without Celery: the Celery task, ``ingest`` and ``rerun`` all call ``score_claims``; ``classify`` calls
``judge_film`` on its own. Running any of them twice is harmless: a claim is a fenced lease, the film's file name is
the hash of its content, and the result is unique per task. Several films share their statements and one commit; each is
judged by itself, and what one does harms no other.
"""

from __future__ import annotations

import errno
import logging
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from dicom_io.errors import FilmError, SpoolError
from dicom_io.film.film import FILM_VERSION, Film, film_of_dicom
from dicom_io.gate.judge import DEFAULT_POLICIES, AgeRange, GateFacts, GateInput, Policies, RuleStage, judge
from dicom_io.gate.picture_statistics import picture_statistics
from dicom_io.reasons import Outcome, Reason
from model.errors import ModelError
from model.input_statistics import input_statistics
from worker.db.answers.results import Judgement
from worker.db.tasks import claims
from worker.errors import DatabaseUnavailable, ModelMismatch
from worker.judging.memory import within_memory
from worker.judging.take import Take
from worker.logs import error_class

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.film.store import FilmStore
    from dicom_io.inbox.store import Store
    from model.serving.classifier import Classifier
    from worker.db.tasks.claims import Claim, Claimant, ImageFacts

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The longest pause of a task that waits for something that is away.
LONGEST_WAIT_MS = 30_000
#: For how long the end of a task is written again while the database is away; shorter than a stop may take.
INSIST_S = 45.0
INSIST_PAUSE_S = 0.5
#: The machine is out of memory or of descriptors; the film is not at fault.
_SHORT = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})
#: A machine that cannot allocate so many bytes is short of memory, whatever the film.
_LITTLE_MEMORY = 64 << 20


class Outages:
    """How long the store, model or database has been away, as one worker sees it; a task then waits for that long again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[Reason, float] = {}

    def pause_ms(self, reason: Reason, least_ms: int) -> int:
        """Note that something is away; returns how long a task is to wait for it, in ms."""
        now = self._clock()
        away_ms = round((now - self._since.setdefault(reason, now)) * 1000)
        return min(max(least_ms, away_ms), LONGEST_WAIT_MS)

    def over(self) -> None:
        """Note that a film found everything it needs."""
        self._since.clear()

    def longest(self) -> tuple[Reason, float] | None:
        """The reason that has lasted longest, and for how many seconds; None while nothing is away."""
        if not self._since:
            return None
        reason = min(self._since, key=lambda one: self._since[one])
        return reason, self._clock() - self._since[reason]


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Everything a worker needs to score a task."""

    claimant: Claimant
    sessions: sessionmaker[Session]
    store: Store
    films: FilmStore
    classifier_of: Callable[[str], Classifier]
    #: Pause after the first failed attempt, in ms; it doubles with each further one.
    backoff_ms: int
    engine: str
    policies: Policies
    #: Memory that reading one film may take, MiB.
    film_memory_mb: int
    #: Bounds the time of judging one film; what SQL takes before and after is not the film's.
    within_time: Callable[[], AbstractContextManager[None]] = nullcontext
    outages: Outages = field(default_factory=Outages)
    #: Called with the task that is begun, and with 0 at its end.
    at_work: Callable[[int], object] = lambda _: None


def score_claims(
    context: WorkerContext, held: Sequence[Claim], goes_on: Callable[[], bool] = lambda: True
) -> dict[int, Outcome | None]:
    """Do the work of claimed tasks, one after the other, and record all results in one transaction.

    Where a film lasts longer than a quarter of a second, what was judged before it is recorded meanwhile.

    Parameters
    ----------
    context
        What the worker needs.
    held
        The claims, in the order of work.
    goes_on
        Asked before each task but the first; where it is False the tasks that are left are put back, as if they had not
        been claimed.

    Returns
    -------
    dict
        The outcome of each task that was begun, by its id. None where its lease was lost, or it was put back because
        something every film needs is away: that does not count as an attempt.
    """
    outcomes: dict[int, Outcome | None] = {}
    lease_ms = context.claimant.lease_ms
    with Take(context.sessions, lease_ms, held, goes_on, lambda judged: _finish(context, judged)) as take:
        while (claim := take.next()) is not None:
            context.at_work(claim.task_id)
            done = _attempt(context, claim)
            context.at_work(0)
            outcomes[claim.task_id] = done if isinstance(done, Outcome) else None
            if isinstance(done, Judgement):
                take.judged(claim, done)
            else:
                take.drop(claim)
        return outcomes | take.end(
            lambda judged: _record(context, judged),
            lambda left: _insist(lambda: claims.leave(context.sessions, left)),
        )


def _attempt(context: WorkerContext, claim: Claim) -> Judgement | Outcome | None:
    """Judge one film; where the attempt failed its outcome, and None where the task was put back."""
    try:
        with context.within_time():
            judgement = _judge_claim(context, claim)
    except OriginalMissing as error:
        if claim.image.is_purged:
            # Another attempt would find nothing either.
            return Judgement(Reason.PURGED)
        return _fail(context, claim, Reason.ORIGINAL_MISSING, error)
    except Exception as error:  # noqa: BLE001 - the task's wrapper: whatever happens, the row says so
        return _failed(context, claim, error)
    return judgement if judgement.inference_ms is None else replace(judgement, engine=context.engine)


def _failed(context: WorkerContext, claim: Claim, error: Exception) -> Outcome | None:
    reason = _of_the_surroundings(error)
    if reason is None:
        return _fail(context, claim, Reason.INTERNAL_ERROR, error)
    _put_back(context, claim, reason, error)
    return None


def _of_the_surroundings(error: Exception) -> Reason | None:
    """The reason, where something that every film needs is away or used up; None for a fault of the film or of the code."""
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

    The rules of each stage are applied as soon as their input is known; ``policies`` decide what happens to a film that
    fails one of them.
    """
    subject = GateInput(facts, AgeRange(*classifier.bundle.age_years))
    header = judge(subject, RuleStage.HEADER, policies)
    if header.reason:
        return Judgement(header.reason)
    began = time.perf_counter()
    try:
        film = load()
    except FilmError as error:
        return Judgement(error.reason, header.flags)
    decode_ms = _ms_since(began)
    subject = replace(subject, statistics=picture_statistics(film.pixels))
    picture = judge(subject, RuleStage.PICTURE, policies)
    if picture.reason:
        return Judgement(picture.reason, header.flags, film, decode_ms=decode_ms)
    look = input_statistics(film.pixels)
    began = time.perf_counter()
    score = classifier.score(film.pixels)
    network = judge(replace(subject, unlikeness=score.unlikeness), RuleStage.NETWORK, policies)
    return Judgement(
        network.reason,
        tuple(dict.fromkeys(header.flags + picture.flags + network.flags)),
        film,
        None if network.reason else score,
        score.unlikeness,
        look,
        decode_ms=decode_ms,
        inference_ms=_ms_since(began),
    )


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


class OriginalMissing(Exception):
    """Neither the stored original nor its film is on disk."""


def _judge_claim(context: WorkerContext, claim: Claim) -> Judgement:
    image = claim.image
    try:
        classifier = context.classifier_of(claim.model)
    except OSError as error:
        raise ModelError from error

    def load() -> Film:
        return within_memory(context.film_memory_mb, lambda: load_film(context.store, context.films, image))

    return judge_film(classifier, image.facts, load, context.policies)


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
            # The markers of the folders tell whether one file fails or the whole disk. Another source may have the film.
            if isinstance(error, OSError) and error.errno in _SHORT:
                raise
    store.check()
    if image.film_key:
        films.check()
    raise OriginalMissing


def _record(context: WorkerContext, judged: Sequence[tuple[Claim, Judgement]]) -> dict[int, Outcome | None]:
    """Record what was judged in one transaction; where that fails, each film by itself, so that one harms no other."""
    if not judged:
        return {}
    try:
        return _insist(lambda: _finish(context, judged))
    except Exception as error:  # noqa: BLE001 - whatever one film does, the rows of the others say how they ended
        if len(judged) > 1:
            return {task_id: outcome for one in judged for task_id, outcome in _record(context, [one]).items()}
        ((claim, _),) = judged
        return {claim.task_id: _failed(context, claim, error)}


def _finish(context: WorkerContext, judged: Sequence[tuple[Claim, Judgement]]) -> dict[int, Outcome | None]:
    """Store the films, and record what was judged in one transaction; the outcomes of the tasks that were still held."""
    # Films first, rows second: a crash between the two leaves files that the next attempt finds.
    context.films.save_all(judgement.film for _, judgement in judged if judgement.film)
    ended = claims.finish(context.sessions, judged)
    context.outages.over()
    for claim, judgement in judged:
        if claim.task_id not in ended:
            logger.warning("lease lost, result dropped", extra={"action": "fenced", "task": claim.task_id})
            continue
        if judgement.film:
            _save_again(context.films, judgement.film)
        facts = {"outcome": judgement.outcome, "reason": judgement.reason}
        logger.info("image judged", extra={"action": "judge", "task": claim.task_id, **facts})
    return {claim.task_id: judgement.outcome for claim, judgement in judged if claim.task_id in ended}


def _save_again(films: FilmStore, film: Film) -> None:
    """Write a film that a purge removed, as that of another image, between its writing and the commit of its row."""
    with suppress(SpoolError):
        films.save(film)


def _fail(context: WorkerContext, claim: Claim, reason: Reason, error: BaseException) -> Outcome:
    """Put the task back for a later attempt, or end it FAILED when its attempts are used up."""
    logger.warning(
        "attempt failed",
        extra={"action": "retry", "task": claim.task_id, "attempt": claim.attempts, "reason": reason},
        exc_info=error,
    )
    _insist(
        lambda: claims.retry_later(
            context.sessions,
            claim,
            error_class=error_class(error),
            error_code=reason,
            backoff_ms=context.backoff_ms * 2 ** (claim.attempts - 1),
            max_attempts=context.claimant.max_attempts,
        )
    )
    return Outcome.FAILED


def _put_back(context: WorkerContext, claim: Claim, reason: Reason, error: BaseException) -> None:
    """Put the task back without counting the attempt; the row says what it waits for."""
    pause_ms = context.outages.pause_ms(reason, context.backoff_ms)
    logger.warning(
        "film waits, something it needs is away",
        extra={"action": "put_back", "task": claim.task_id, "reason": reason, "pause_ms": pause_ms},
        exc_info=error,
    )
    _insist(
        lambda: claims.put_back(
            context.sessions, claim, error_class=error_class(error), error_code=reason, pause_ms=pause_ms
        )
    )


def _insist(write: Callable[[], T]) -> T:
    """Write how a task ended, again while the database is away: if its lease ran out, the task would lose an attempt."""
    deadline = time.monotonic() + INSIST_S
    while True:
        try:
            return write()
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(INSIST_PAUSE_S)
