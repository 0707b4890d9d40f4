"""Claim a delivery, and record what its destination may have before it is sent.

A claim is a lease on the database's clock with a fencing token that counts up with each claim, as that of a task. A sender
that returns after its lease holds an old token: its statements find no row, and nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, func, select, update
from sqlalchemy.orm import aliased

from worker.db.delivery.changes import IS_OPEN
from worker.db.delivery.outcome import ClaimedDelivery, Earlier, ObjectKind, Target, decoded, encoded
from worker.db.schema.engine import in_transaction
from worker.db.schema.sql import table_of
from worker.db.schema.states import DeliveryState
from worker.db.schema.study import Delivery, Destination, Study
from worker.db.schema.types import now_ms, now_utc
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session, sessionmaker

    from worker.db.delivery.outcome import SentObject

_ARRIVED = (DeliveryState.UNCONFIRMED, DeliveryState.DELIVERED, DeliveryState.CONFIRMED)


class ClaimLost(WorkerError):
    """A delivery belongs to another sender by now; whoever finds that stops working on it."""

    exit_code = 1


def claim(sessions: sessionmaker[Session], destination_id: int, owner: str, lease_ms: int) -> ClaimedDelivery | None:
    """Claim the delivery of a destination that has been due longest; None where none is due.

    One of a study waits until no earlier one of the same study and destination is being sent.
    """
    earlier = aliased(Delivery)
    is_free = ~exists().where(
        earlier.destination_id == Delivery.destination_id,
        earlier.study_id == Delivery.study_id,
        earlier.number < Delivery.number,
        earlier.state == DeliveryState.CLAIMED,
    )

    def work(session: Session) -> ClaimedDelivery | None:
        due = (
            select(Delivery.id, Delivery.state)
            .join(Destination, Destination.id == Delivery.destination_id)
            .where(
                Delivery.destination_id == destination_id,
                IS_OPEN,
                Delivery.state != DeliveryState.CLAIMED,
                Delivery.not_before_ms <= now_ms(),
                Destination.not_before_ms <= now_ms(),
                Destination.ended_at.is_(None),
                is_free,
            )
            .order_by(Delivery.not_before_ms, Delivery.id)
            .limit(1)
            .with_for_update(of=Delivery, skip_locked=True)
        )
        found = session.execute(due).first()
        if found is None:
            return None
        delivery_id, before = found
        table = table_of(Delivery)
        session.execute(
            update(table)
            .where(table.c.id == delivery_id)
            .values(
                state=DeliveryState.CLAIMED,
                attempts=table.c.attempts + 1,
                lease_owner=owner,
                lease_token=table.c.lease_token + 1,
                lease_until_ms=now_ms() + lease_ms,
            )
        )
        return _claimed(session, delivery_id, is_taken=before is DeliveryState.UNCONFIRMED)

    return in_transaction(sessions, work)


def _claimed(session: Session, delivery_id: int, *, is_taken: bool) -> ClaimedDelivery:
    row, target, study = session.execute(
        select(Delivery, Destination, Study)
        .join(Destination, Destination.id == Delivery.destination_id)
        .join(Study, Study.id == Delivery.study_id)
        .where(Delivery.id == delivery_id)
        .execution_options(populate_existing=True)
    ).one()
    assert row.lease_owner is not None
    return ClaimedDelivery(
        delivery_id=row.id,
        token=row.lease_token,
        owner=row.lease_owner,
        target=Target(
            target.id,
            target.name,
            target.kind,
            target.address,
            target.heat_map,
            target.commitment,
            target.names_patient,
        ),
        study_id=study.id,
        study_uid=study.study_uid,
        side=study.side,
        number=row.number,
        action=row.action,
        says=row.says,
        attempts=row.attempts,
        created_at=row.created_at,
        is_taken=is_taken,
        objects=decoded(row.objects),
        earlier=earlier_of(session, row),
    )


def earlier_of(session: Session, row: Delivery) -> tuple[Earlier, ...]:
    """What the destination may have of this study by earlier deliveries, the oldest first."""
    rows = session.scalars(
        select(Delivery)
        .where(
            Delivery.destination_id == row.destination_id,
            Delivery.study_id == row.study_id,
            Delivery.number < row.number,
        )
        .order_by(Delivery.number)
    ).all()
    told = [(one, decoded(one.objects)) for one in rows]
    noted = [one.number for one, objects in told if one.state in _ARRIVED and _is_noted(objects)]
    last_note = max(noted, default=0)
    return tuple(
        Earlier(one.number, objects, one.model_id, one.film_key, is_standing=one.number >= last_note)
        for one, objects in told
        if objects
    )


def _is_noted(objects: Sequence[SentObject]) -> bool:
    return any(one.kind is ObjectKind.REJECTION_NOTE for one in objects)


def is_held(claimed: ClaimedDelivery) -> Any:
    """SQL: the row of a claim, as long as it holds."""
    table = table_of(Delivery)
    return and_(
        table.c.id == claimed.delivery_id,
        table.c.lease_token == claimed.token,
        table.c.state == DeliveryState.CLAIMED,
    )


def record_objects(
    sessions: sessionmaker[Session],
    claimed: ClaimedDelivery,
    objects: Sequence[SentObject] = (),
    made_of: tuple[int, str] | None = None,
) -> None:
    """Keep what the destination may have from now on, beside what it may have by earlier attempts.

    `made_of`: the model that answered, and the name in the store of the film whose header the objects repeat. Raises
    `ClaimLost`.
    """

    def work(session: Session) -> None:
        table = table_of(Delivery)
        before = session.scalar(select(table.c.objects).where(is_held(claimed)).with_for_update())
        if before is None:
            raise ClaimLost
        reports = [one.sop_uid for one in objects if one.kind is ObjectKind.REPORT]
        values: dict[str, Any] = {
            "objects": encoded((*decoded(before), *objects)),
            "begun_at": func.coalesce(table.c.begun_at, now_utc()),
            "transaction_uid": claimed.transaction_uid if claimed.target.commitment else None,
        }
        if reports:
            values["report_uid"] = reports[-1]
        if made_of:
            values["model_id"], values["film_key"] = made_of
        session.execute(update(table).where(is_held(claimed)).values(values))

    in_transaction(sessions, work)
