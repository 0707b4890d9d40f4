"""Which studies changed since a destination last looked, what it was told of each, and a new thing to tell.

The numbers of changes are those of the view `changes`, which misses none whatever commits when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, insert, or_, select, text, update

from worker.db.delivery.outcome import DeliveryReason
from worker.db.schema.sql import chunks, table_of
from worker.db.schema.states import DeliveryAction, DeliveryState
from worker.db.schema.study import Delivery, Destination, Image, Study
from worker.db.schema.types import now_ms, now_utc
from worker.db.schema.views import CHANGES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session


#: Written as the partial index is: neither database uses one for a condition with parameters.
IS_OPEN = text("delivery.state IN ('PENDING', 'CLAIMED', 'UNCONFIRMED')")


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery of a study, as far as it tells what its destination knows."""

    number: int
    action: DeliveryAction
    says: str
    state: DeliveryState
    #: Whether content has left for the destination, so that it may have some.
    is_begun: bool


@dataclass(frozen=True, slots=True, eq=False)
class Changed:
    """A study that changed, and its deliveries to one destination, the oldest first."""

    study: Study
    told: tuple[Told, ...]


def locked(session: Session, destination_id: int) -> Destination | None:
    """A destination in use, for this transaction alone; None where it is gone, or another process has it."""
    return session.scalar(
        select(Destination)
        .where(Destination.id == destination_id, Destination.ended_at.is_(None))
        .with_for_update(skip_locked=True)
    )


def changed_since(session: Session, destination: Destination, limit: int) -> tuple[list[Changed], int]:
    """The next studies that changed, about so many, and the number up to which these are all."""
    after = select(CHANGES.c.change_id).where(CHANGES.c.change_id > destination.seen_change)
    numbers = session.scalars(after.order_by(CHANGES.c.change_id).limit(limit)).all()
    if not numbers:
        return [], destination.seen_change
    # One transaction may have changed several, which have one number.
    last: int = numbers[-1]
    studies = session.scalars(
        select(Study)
        .join(CHANGES, (CHANGES.c.study_uid == Study.study_uid) & (CHANGES.c.side == Study.side))
        .where(CHANGES.c.change_id > destination.seen_change, CHANGES.c.change_id <= last)
        .order_by(CHANGES.c.change_id, Study.id)
        .execution_options(populate_existing=True)
    ).all()
    told: dict[int, list[Told]] = {study.id: [] for study in studies}
    for some in chunks(sorted(told)):
        rows = session.scalars(
            select(Delivery)
            .where(Delivery.destination_id == destination.id, Delivery.study_id.in_(some))
            .order_by(Delivery.number)
            .execution_options(populate_existing=True)
        )
        for row in rows:
            told[row.study_id].append(Told(row.number, row.action, row.says, row.state, row.begun_at is not None))
    return [Changed(study, tuple(told[study.id])) for study in studies], last


def lock_studies(session: Session, study_ids: Collection[int]) -> set[int]:
    """Keep studies from being erased until this transaction ends; those that are there still."""
    held = select(Study.id).where(Study.id.in_(sorted(study_ids))).order_by(Study.id)
    return set(session.scalars(held.with_for_update(read=True)))


def callers_of(session: Session, study_id: int) -> frozenset[str]:
    """The AE titles that sent the current objects of a study."""
    sent = select(Image.calling_aet).where(Image.study_id == study_id, Image.is_current).distinct()
    return frozenset(session.scalars(sent))


def tell(
    session: Session, destination: Destination, changed: Changed, action: DeliveryAction, says: str, give_up_ms: int
) -> None:
    """Add a delivery in place of those of the same study that are still open; `give_up_ms`: how long it is tried."""
    end_open(session, destination.id, changed.study.id, DeliveryReason.ANSWER_CHANGED)
    session.execute(
        insert(table_of(Delivery)).values(
            destination_id=destination.id,
            study_id=changed.study.id,
            number=max((one.number for one in changed.told), default=0) + 1,
            action=action,
            says=says,
            state=DeliveryState.PENDING,
            not_before_ms=now_ms(),
            give_up_ms=now_ms() + give_up_ms,
            created_at=now_utc(),
        )
    )


def end_open(session: Session, destination_id: int, study_id: int | None, reason: DeliveryReason) -> None:
    """End what is open and in nobody's hands: of one study, or of all. What was taken is delivered, the rest superseded."""
    table = table_of(Delivery)
    of_study = table.c.study_id == study_id if study_id is not None else table.c.study_id.is_not(None)
    for before, after in (
        (DeliveryState.PENDING, DeliveryState.SUPERSEDED),
        (DeliveryState.UNCONFIRMED, DeliveryState.DELIVERED),
    ):
        values: dict[str, Any] = {"state": after, "reason": reason, "finished_at": now_utc()}
        session.execute(
            update(table)
            .where(table.c.destination_id == destination_id, of_study, table.c.state == before)
            .values(values)
        )


def last_change(session: Session) -> int:
    """The number of the last change that is on record for good."""
    return int(session.scalar(select(func.coalesce(func.max(CHANGES.c.change_id), 0))) or 0)


# Built once: each listener asks every second.
_DESTINATION = table_of(Destination).c
_IN_USE = select(
    or_(
        select(_DESTINATION.id).where(_DESTINATION.ended_at.is_(None)).exists(),
        select(Delivery.id).where(IS_OPEN).exists(),
    )
)


def in_use(session: Session) -> bool:
    """Whether results go anywhere, or an attempt is open whose destination was removed meanwhile."""
    return bool(session.scalar(_IN_USE))


def behind(session: Session) -> Sequence[int]:
    """The destinations for which studies have changed; asked without a lock, so that a quiet site has no writer for it."""
    newer = exists().where(CHANGES.c.change_id > Destination.seen_change).correlate(Destination)
    found = select(Destination.id).where(Destination.ended_at.is_(None), newer).order_by(Destination.id)
    return session.scalars(found).all()


def with_work(session: Session) -> Sequence[tuple[int, str]]:
    """The destinations, with their names, for which a delivery is due."""
    due = (
        select(Destination.id, Destination.name)
        .join(Delivery, Delivery.destination_id == Destination.id)
        .where(
            Destination.ended_at.is_(None),
            Destination.not_before_ms <= now_ms(),
            IS_OPEN,
            Delivery.state != DeliveryState.CLAIMED,
            Delivery.not_before_ms <= now_ms(),
        )
        .distinct()
        .order_by(Destination.id)
    )
    return [(int(number), str(name)) for number, name in session.execute(due)]
