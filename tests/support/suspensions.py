"""A model of a site is suspended and resumed, as the commands do it, and what the worklist then says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.database import Site, scored
from worker.db.batches import reruns, suspensions, withholding
from worker.db.batches.selection import Selector
from worker.db.models import bundles
from worker.db.models.bundles import Order
from worker.db.schema.engine import in_transaction
from worker.db.schema.states import SuspensionEnd

if TYPE_CHECKING:
    from datetime import datetime

    from worker.db.answers.results import Judgement
    from worker.db.batches.suspensions import Affected, Resumed

ADA = Order("ada", "it calls every film normal")
RELEASED, DISCARDED, REQUEUED = SuspensionEnd.RELEASED, SuspensionEnd.DISCARDED, SuspensionEnd.REQUEUED
SUSPENDED = "MODEL_SUSPENDED"
WITHHELD: tuple[Any, ...] = ("WITHHELD", None, SUSPENDED, [SUSPENDED])
FLAGGED: tuple[Any, ...] = ("FINAL", "PNEUMONIA", None, [SUSPENDED])
NORMAL: tuple[Any, ...] = ("FINAL", "NORMAL", None, [])
PNEUMONIA: tuple[Any, ...] = ("FINAL", "PNEUMONIA", None, [])


def suspend(site: Site, model_id: int | None = None, since: datetime | None = None) -> Affected | None:
    """As the command does it: the suspension, then the studies that follow from it."""
    which = model_id or site.model_id
    found = in_transaction(site.sessions, lambda session: suspensions.suspend(session, which, ADA, since))
    in_transaction(site.sessions, withholding.withhold)
    follow(site)
    return found


def resume(site: Site, end: SuspensionEnd, model_id: int | None = None) -> Resumed:
    which = model_id or site.model_id
    found = in_transaction(site.sessions, lambda session: suspensions.resume(session, which, end, ADA))
    follow(site)
    return found


def follow(site: Site) -> None:
    while in_transaction(site.sessions, withholding.follow) is not None:
        pass


def activate(site: Site, model_id: int) -> None:
    in_transaction(site.sessions, lambda session: bundles.activate(session, model_id, ADA))


def judged(site: Site, study: str, judgement: Judgement, sop: str | None = None) -> int:
    """A film that came and was judged; its image."""
    entry = site.receive(study, sop or f"{study}.1")
    site.finish(entry.task_id, judgement)
    site.settle()
    return entry.image_id


def says(site: Site, study: str) -> tuple[Any, ...]:
    row = site.entry(study)
    return row["ai_status"], row["label"], row["reason"], row["flags"]


def two_studies(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    judged(site, "1.2", scored(0.9))


def rerun(site: Site, model_id: int, judgement: Judgement) -> None:
    with site.sessions.begin() as session:
        batch = reruns.open_batch(
            session, selector=Selector(all=True), model_id=model_id, who="", why="", keep_current=False
        )
        tasks = reruns.pending_ids(session, batch.batch_id, 100)
    for task_id in tasks:
        site.finish(task_id, judgement)
