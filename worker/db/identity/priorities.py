"""Which studies are urgent: what the order says, as the newest header has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, text, update

from worker.db.schema.study import Image, Study, Task

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

ROUTINE_PRIORITY, URGENT_PRIORITY = 0, -1
#: The words of Requested Procedure Priority that make a study urgent.
URGENT_WORDS = frozenset({"STAT", "HIGH"})
#: The words that do not; a header may also say nothing.
ROUTINE_WORDS = frozenset({"ROUTINE", "MEDIUM", "LOW"})


def priority_of(requested: str) -> int:
    """The priority of a live study by what its order says."""
    return URGENT_PRIORITY if requested in URGENT_WORDS else ROUTINE_PRIORITY


def follow_request(session: Session, study: Study) -> None:
    """Give a study, and its films that wait, the priority that its order asks for; a fetched study stays behind live work."""
    wanted = priority_of(study.requested_priority)
    if study.priority == wanted or study.priority not in {ROUTINE_PRIORITY, URGENT_PRIORITY}:
        return
    study.priority = wanted
    session.execute(
        update(Task)
        .where(
            text("task.state IN ('PENDING', 'CLAIMED')"),
            Task.image_id.in_(select(Image.id).where(Image.study_id == study.id)),
            Task.batch_id.is_(None),
            Task.priority.in_((ROUTINE_PRIORITY, URGENT_PRIORITY)),
        )
        .values(priority=wanted)
        .execution_options(synchronize_session=False)
    )
