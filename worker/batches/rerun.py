"""``auscult rerun``: score stored films again, as a batch with a user, a reason and a selector; nothing is overwritten.

A batch is resumed, not repeated: the same selector and model continue an open batch where it stopped, because its tasks
are rows and each is unique. Results of the active model become current. Results of another model are only added unless
the request says otherwise, so the worklist never shows another model's answers by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from worker.batches.completion import complete
from worker.db.batches import opening, reruns, selection
from worker.db.models.bundles import check_usable, id_of
from worker.db.read import queries
from worker.db.schema.engine import in_transaction
from worker.models.active import bundle_of, record_model, shared_bundle
from worker.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from model.serving.bundle import Bundle
    from worker.database import Database
    from worker.db.batches.reruns import BatchProgress, Flip, OpenedBatch
    from worker.db.batches.selection import Matching, Selector
    from worker.settings import Settings

TAKE = 256


class Mode(Enum):
    """Whether the results of a re-run become current."""

    #: They become current where the model is the active one.
    BY_MODEL = "by model"
    MAKE_CURRENT = "make current"
    KEEP_CURRENT = "keep current"


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """The films to re-run, the bundle, the user and the reason."""

    selector: Selector
    model: str
    who: str
    why: str
    mode: Mode = Mode.BY_MODEL


@dataclass(frozen=True, slots=True)
class RerunOutlook:
    """The effect that a request would have."""

    matching: Matching
    model: str
    keep_current: bool
    #: The open batch that is continued, whose mode is kept.
    resumes: int | None
    #: Models whose results count for the selected films now.
    models_now: Sequence[str]
    #: Whether answers of the worklist would be replaced by those of a model that is not the active one.
    replaces: bool

    def question(self) -> str:
        """The sentence to confirm where answers are replaced."""
        return (
            f"the worklist's answers of {_n(self.matching.studies, 'study', 'studies')} "
            f"({_n(self.matching.images, 'film', 'films')}) would come from {self.model}, which is not the active model, "
            f"and no longer from {', '.join(self.models_now) or 'none'}"
        )


def _n(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


@dataclass(frozen=True, slots=True)
class RerunReport:
    """How a re-run ended."""

    batch_id: int
    resumed: bool
    keep_current: bool
    progress: BatchProgress
    flips: Sequence[Flip]


def outlook(settings: Settings, database: Database, request: RerunRequest, active: str) -> RerunOutlook:
    """The effect that a request would have; nothing is written.

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
        return RerunOutlook(matching, request.model, left.keep_current, left.batch_id, models_now, replaces=False)
    replaces = not keep_current and request.model != active
    return RerunOutlook(matching, request.model, keep_current, None, models_now, replaces)


def _left_open(
    session: Session, bundle: Bundle, request: RerunRequest, *, keep_current: bool
) -> reruns.OpenedBatch | None:
    """The open batch that this request continues: of any mode, unless the request names one."""
    model_id = id_of(session, bundle.label)
    if model_id is None:
        return None
    check_usable(session, model_id)
    mode = None if request.mode is Mode.BY_MODEL else keep_current
    return reruns.batch_left_open(session, request.selector, model_id, keep_current=mode)


def rerun(settings: Settings, database: Database, request: RerunRequest, *, keep_current: bool) -> RerunReport:
    """Order a batch or resume the open one, complete its tasks, close it and report the answers that changed."""
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
    return follow(settings, database, batch)


def _open(database: Database, batch_id: int) -> None:
    """Give a batch all its tasks, where it has not got them yet; workers take them meanwhile."""
    with database.reads() as session:
        begun = opening.how_far(session, batch_id)
    if begun is None:
        return
    with progress(f"batch {batch_id} opens", begun.left) as advance:
        while state := in_transaction(database.sessions, lambda session: opening.go_on(session, batch_id)):
            advance(begun.left - state.left)


def follow(settings: Settings, database: Database, batch: OpenedBatch) -> RerunReport:
    """Complete a batch's tasks, close it and report the answers that changed."""
    _open(database, batch.batch_id)

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
        return RerunReport(
            batch.batch_id,
            batch.resumed,
            batch.keep_current,
            reruns.progress(session, batch.batch_id),
            reruns.flips(session, batch.batch_id),
        )
