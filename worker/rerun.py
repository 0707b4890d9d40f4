"""``auscult rerun``: score what is stored again, as a batch with a who, a why and a selector; nothing is overwritten.

A batch is resumed, not repeated: the same selector and model with an open batch goes on where it stopped, because the
batch's tasks are rows and each is unique. With the active model its results become current. With another one they are
only added, unless the request says otherwise: the worklist shows another model's answers by decision, never by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.bootstrap import Database, bundle_of, record_model, shared_bundle
from worker.completion import complete
from worker.db import queries, reruns, selection
from worker.db.models import check_usable
from worker.db.schema import Model
from worker.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from model.bundle import Bundle
    from worker.db.reruns import BatchProgress, Flip
    from worker.db.selection import Matching, Selector
    from worker.settings import Settings

TAKE = 256


class Mode(Enum):
    """What becomes of the results."""

    #: Current where the model is the active one, else only added.
    BY_MODEL = "by model"
    MAKE_CURRENT = "make current"
    KEEP_CURRENT = "keep current"


@dataclass(frozen=True, slots=True)
class Request:
    """What to re-run, with which bundle, on whose behalf."""

    selector: Selector
    model: str
    who: str
    why: str
    mode: Mode = Mode.BY_MODEL


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a request would do."""

    matching: Matching
    model: str
    keep_current: bool
    #: Goes on with a batch that was left open, whose mode is kept.
    resumes: int | None
    #: Models whose results count for the selected films now.
    models_now: Sequence[str]
    #: Whether answers of the worklist would be replaced by those of a model that is not the active one.
    replaces: bool

    def question(self) -> str:
        """What has to be confirmed where answers are replaced."""
        return (
            f"the worklist's answers of {_n(self.matching.studies, 'study', 'studies')} "
            f"({_n(self.matching.images, 'film', 'films')}) would come from {self.model}, which is not the active model, "
            f"and no longer from {', '.join(self.models_now) or 'none'}"
        )


def _n(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


@dataclass(frozen=True, slots=True)
class Report:
    """How a re-run ended."""

    batch_id: int
    resumed: bool
    keep_current: bool
    progress: BatchProgress
    flips: Sequence[Flip]


def outlook(settings: Settings, database: Database, request: Request, active: str) -> Outlook:
    """What a request would do; nothing is written.

    Raises UsageError where the selector matches nothing or the model is retired, and BundleError for an unknown one.
    """
    bundle = bundle_of(settings, request.model)
    keep_current = request.mode is Mode.KEEP_CURRENT or (request.mode is Mode.BY_MODEL and request.model != active)
    with database.sessions.begin() as session:
        left = _left_open(session, bundle, request, keep_current=keep_current)
    with database.reads() as session:
        count = selection.matching if left else selection.matching_or_error
        matching = count(session, request.selector)
        models_now = selection.models_of(session, request.selector)
    if left:
        return Outlook(matching, request.model, left.keep_current, left.batch_id, models_now, replaces=False)
    replaces = not keep_current and request.model != active
    return Outlook(matching, request.model, keep_current, None, models_now, replaces)


def _left_open(session: Session, bundle: Bundle, request: Request, *, keep_current: bool) -> reruns.OpenedBatch | None:
    """The batch that this request goes on with: of any mode, unless it says which."""
    named = select(Model.id).where(Model.name == bundle.name, Model.version == bundle.version)
    model_id = session.execute(named).scalar_one_or_none()
    if model_id is None:
        return None
    check_usable(session, model_id)
    mode = None if request.mode is Mode.BY_MODEL else keep_current
    return reruns.batch_left_open(session, request.selector, model_id, keep_current=mode)


def rerun(settings: Settings, database: Database, request: Request, *, keep_current: bool) -> Report:
    """Open the batch, or the one left open, bring its tasks to their end, close it and say what flipped."""
    model_id = record_model(database.sessions, shared_bundle(settings, request.model))
    with database.sessions.begin() as session:
        batch = reruns.open_batch(
            session,
            selector=request.selector,
            model_id=model_id,
            who=request.who,
            why=request.why,
            keep_current=keep_current,
        )

    def open_tasks() -> Sequence[int]:
        with database.reads() as session:
            return reruns.pending_ids(session, batch.batch_id, TAKE)

    def state() -> BatchProgress:
        with database.reads() as session:
            return reruns.progress(session, batch.batch_id)

    with progress(f"batch {batch.batch_id}", state().total) as advance:
        complete(settings, database, open_tasks, lambda: state().finished, advance)
    with database.sessions.begin() as session:
        queries.settle(session)
        reruns.close_batch_if_done(session, batch.batch_id)
    with database.reads() as session:
        return Report(
            batch.batch_id,
            batch.resumed,
            batch.keep_current,
            reruns.progress(session, batch.batch_id),
            reruns.flips(session, batch.batch_id),
        )
