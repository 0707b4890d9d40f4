"""Step 1 of a delivery: studies that changed become rows, one for each destination that is to be told something new."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.db.delivery import changes
from worker.db.delivery.outcome import DeliveryReason
from worker.db.schema.engine import in_transaction
from worker.delivering.answer import is_settling, is_wanted, leaves_waiting, next_of, says_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from worker.db.delivery.changes import Changed
    from worker.db.schema.study import Destination
    from worker.delivering.answer import Tell

logger = logging.getLogger(__name__)

#: Changes that are looked at in one transaction.
LIMIT = 200


def plan(sessions: sessionmaker[Session], destination_id: int, give_up_ms: int) -> bool:
    """Look at the next changes for one destination; True while there may be more."""

    def work(session: Session) -> tuple[str, int, bool]:
        destination = changes.locked(session, destination_id)
        if destination is None:
            return "", 0, False
        found, last = changes.changed_since(session, destination, LIMIT)
        wanted = {one.study.id: (one, tell) for one in found if (tell := _next(session, destination, one))}
        there = changes.lock_studies(session, wanted)
        for one, tell in (wanted[study_id] for study_id in wanted if study_id in there):
            changes.tell(session, destination, one, tell.action, tell.says, give_up_ms)
        destination.seen_change = last
        return destination.name, len(there), len(found) >= LIMIT

    name, made, is_more = in_transaction(sessions, work)
    if made:
        logger.info("deliveries to make", extra={"action": "deliver_plan", "destination": name, "rows": made})
    return is_more


def _next(session: Session, destination: Destination, changed: Changed) -> Tell | None:
    """What the destination is to be told next; what waits and does not hold any more is ended."""
    study = changed.study
    if is_settling(study):
        # It changes again when it is settled.
        return None
    says = says_of(study)
    callers = changes.callers_of(session, study.id) if destination.callers else frozenset()
    tell = next_of(says, changed.told, is_wanted=is_wanted(study, destination, callers))
    if tell is None and leaves_waiting(says, changed.told):
        changes.end_open(session, destination.id, study.id, DeliveryReason.ANSWER_CHANGED)
    return tell
