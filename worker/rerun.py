"""``auscult rerun``: score what is stored again, as a batch with a who, a why and a selector; nothing is overwritten.

A batch is resumed, not repeated: the same selector and model with an open batch goes on where it stopped, because the
batch's tasks are rows and each is unique.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.bootstrap import Database, record_model, shared_bundle
from worker.completion import complete
from worker.db import queries, reruns
from worker.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.db.reruns import BatchProgress, Flip, Matching, Selector
    from worker.settings import Settings

TAKE = 256


@dataclass(frozen=True, slots=True)
class Request:
    """What to re-run, with which bundle, on whose behalf."""

    selector: Selector
    model: str
    who: str
    why: str
    keep_current: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """How a re-run ended."""

    batch_id: int
    resumed: bool
    progress: BatchProgress
    flips: Sequence[Flip]


def preview(database: Database, selector: Selector) -> Matching:
    """How many studies and images a selector names."""
    with database.reads() as session:
        return reruns.matching(session, selector)


def rerun(settings: Settings, database: Database, request: Request) -> Report:
    """Open the batch, or the one left open, bring its tasks to their end, close it and say what flipped."""
    model_id = record_model(database.sessions, shared_bundle(settings, request.model))
    with database.sessions.begin() as session:
        batch = reruns.open_batch(
            session,
            selector=request.selector,
            model_id=model_id,
            who=request.who,
            why=request.why,
            keep_current=request.keep_current,
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
            reruns.progress(session, batch.batch_id),
            reruns.flips(session, batch.batch_id),
        )
