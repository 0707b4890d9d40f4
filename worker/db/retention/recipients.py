"""Which other systems were told results of a person, for their own request (GDPR, articles 15(1)(c) and 19)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from worker.db.schema.sql import chunks
from worker.db.schema.study import Delivery, Destination

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Recipient:
    """A destination that may have results of a person, whether it is in use or was removed."""

    destination: str
    kind: str
    address: str
    #: Whether it was told who the patient is; DICOM objects always say so.
    names_patient: bool
    #: When results first and last began to leave for it, UTC.
    first_at: datetime
    last_at: datetime
    #: Of how many rows of the worklist.
    studies: int

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return asdict(self)


def recipients(session: Session, study_ids: Sequence[int]) -> list[Recipient]:
    """The destinations for which a result of these studies has left, taken or not, in the order in which they were added."""
    statement = select(Destination, Delivery.begun_at, Delivery.study_id).join(
        Delivery, Delivery.destination_id == Destination.id
    )
    told: dict[Destination, list[tuple[datetime, int]]] = defaultdict(list)
    for some in chunks(study_ids):
        for destination, begun_at, study_id in session.execute(statement.where(Delivery.study_id.in_(some))):
            if begun_at is not None:
                told[destination].append((begun_at, study_id))
    return [
        Recipient(
            destination.name,
            destination.kind.value,
            destination.address,
            destination.names_patient,
            min(told[destination])[0],
            max(told[destination])[0],
            len({study_id for _, study_id in told[destination]}),
        )
        for destination in sorted(told, key=lambda one: one.id)
    ]
