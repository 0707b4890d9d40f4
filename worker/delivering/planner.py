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

logger = logging.getLogger(__name__)

#: Changes that are looked at in one transaction.
LIMIT = 200


def plan(sessions: sessionmaker[Session], destination_id: int, give_up_ms: int) -> bool:
    """Look at the next changes for one destination; True while there may be more."""

    def work(session: Session) -> tuple[int, bool]:
        destination = changes.locked(session, destination_id)
        if destination is None:
            return 0, False
        found, last = changes.changed_since(session, destination, LIMIT)
        made = sum(_tell(session, destination, one, give_up_ms) for one in found)
        destination.seen_change = last
        return made, len(found) >= LIMIT

    made, is_more = in_transaction(sessions, work)
    if made:
        logger.info("deliveries to make", extra={"action": "deliver_plan", "rows": made})
    return is_more


def _tell(session: Session, destination: Destination, changed: Changed, give_up_ms: int) -> bool:
    study = changed.study
    if is_settling(study):
        # It changes again when it is settled.
        return False
    says = says_of(study)
    callers = changes.callers_of(session, study.id) if destination.callers else frozenset()
    tell = next_of(says, changed.told, is_wanted=is_wanted(study, destination, callers))
    if tell is None:
        if leaves_waiting(says, changed.told):
            changes.end_open(session, destination.id, study.id, DeliveryReason.ANSWER_CHANGED)
        return False
    changes.tell(session, destination, changed, tell.action, tell.says, give_up_ms)
    return True
