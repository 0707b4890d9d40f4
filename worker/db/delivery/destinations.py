"""Destinations: added, removed and listed; deliveries that were given up, tried again. Each change is audited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, or_, select, text, update

from worker.db.audit.codes import Act
from worker.db.audit.objects import name_studies
from worker.db.audit.record import record
from worker.db.delivery.changes import IS_OPEN, end_open, last_change
from worker.db.delivery.outcome import DeliveryReason
from worker.db.schema.sql import chunks, table_of
from worker.db.schema.states import DeliveryState, DestinationKind
from worker.db.schema.study import Delivery, Destination, Study
from worker.db.schema.types import now_ms, now_utc
from worker.db.schema.views import DELIVERIES
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.db.audit.record import Actor
    from worker.db.schema.views import Row


@dataclass(frozen=True, slots=True)
class NewDestination:
    """A destination as a command describes it; the fields are columns of `destination`."""

    name: str
    kind: DestinationKind
    address: str
    findings: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    heat_map: bool = False
    commitment: bool = True
    names_patient: bool = True


def add(session: Session, new: NewDestination, actor: Actor, why: str, *, from_start: bool = False) -> int:
    """Add a destination; it is told of changes from now on, or of all answers. Raises UsageError for a name in use."""
    if _in_use(session, new.name) is not None:
        msg = f"there is a destination {new.name}: remove it first, or choose another name"
        raise UsageError(msg)
    values: dict[str, Any] = {
        "name": new.name,
        "kind": new.kind,
        "address": new.address,
        "findings": new.findings,
        "bands": new.bands,
        "callers": new.callers,
        "heat_map": new.heat_map,
        "commitment": new.commitment,
        "names_patient": new.names_patient,
        "who": actor.name,
        "why": why,
        "created_at": now_utc(),
        "seen_change": 0 if from_start else last_change(session),
    }
    made = session.execute(insert(table_of(Destination)).values(values).returning(table_of(Destination).c.id))
    detail = {
        "destination": new.name,
        "change": "added",
        "kind": new.kind.value,
        "address": new.address,
        "findings": list(new.findings),
        "bands": list(new.bands),
        "callers": list(new.callers),
        "heat_map": new.heat_map,
        "names_patient": new.names_patient,
        "from_start": from_start,
        "why": why,
    }
    record(session, Act.DESTINATION_CHANGED, actor, detail=detail)
    return int(made.scalar_one())


def remove(session: Session, name: str, actor: Actor, why: str) -> None:
    """Tell a destination nothing more; what is being sent ends as it ends. Raises UsageError for an unknown name."""
    destination_id = _in_use(session, name)
    if destination_id is None:
        msg = f"there is no destination {name}; `auscult deliver rules` lists them"
        raise UsageError(msg)
    table = table_of(Destination)
    session.execute(update(table).where(table.c.id == destination_id).values(ended_at=now_utc()))
    end_open(session, destination_id, None, DeliveryReason.DESTINATION_REMOVED)
    record(session, Act.DESTINATION_CHANGED, actor, detail={"destination": name, "change": "removed", "why": why})


def _in_use(session: Session, name: str) -> int | None:
    return session.scalar(
        select(Destination.id).where(Destination.name == name, Destination.ended_at.is_(None)).with_for_update()
    )


def rules(session: Session) -> list[Row]:
    """The destinations in use, with their rules and how many of their deliveries are open or were given up."""
    shown = (
        *("name", "kind", "address", "findings", "bands", "callers", "heat_map", "commitment", "names_patient"),
        *("who", "why", "created_at", "failures"),
    )
    columns = [getattr(Destination, name) for name in shown]
    counted = {
        name: select(func.count()).where(condition, Delivery.destination_id == Destination.id).scalar_subquery()
        for name, condition in (("n_open", IS_OPEN), ("n_failed", text("delivery.state = 'FAILED'")))
    }
    found = session.execute(
        select(*columns, *(number.label(name) for name, number in counted.items()))
        .where(Destination.ended_at.is_(None))
        .order_by(Destination.name)
    )
    return [dict(row) for row in found.mappings()]


def deliveries(
    session: Session, *, study: str = "", destination: str = "", states: tuple[str, ...] = (), limit: int = 100
) -> list[Row]:
    """Rows of the view `deliveries`, the newest first."""
    wanted = select(DELIVERIES).order_by(DELIVERIES.c.delivery_id.desc()).limit(limit)
    if study:
        wanted = wanted.where(DELIVERIES.c.study_uid == study)
    if destination:
        wanted = wanted.where(DELIVERIES.c.destination == destination)
    if states:
        wanted = wanted.where(DELIVERIES.c.state.in_(states))
    return [dict(row) for row in session.execute(wanted).mappings()]


def retry(session: Session, actor: Actor, why: str, *, study: str = "", destination: str = "", give_up_ms: int) -> int:
    """Try again now: deliveries that were given up, or not confirmed, or wait for their next attempt; returns how many.

    Only the last one of each study and destination: an earlier one says what does not hold any more.
    """
    table = table_of(Delivery)
    later = table.alias()
    is_last = ~(
        select(later.c.id)
        .where(
            later.c.destination_id == table.c.destination_id,
            later.c.study_id == table.c.study_id,
            later.c.number > table.c.number,
        )
        .exists()
    )
    used = select(Destination.id).where(Destination.ended_at.is_(None))
    if destination:
        used = used.where(Destination.name == destination)
    of_study = select(Study.id).where(Study.study_uid == study) if study else select(Study.id)
    is_unfinished = or_(
        table.c.state.in_((DeliveryState.FAILED, DeliveryState.PENDING, DeliveryState.UNCONFIRMED)),
        (table.c.state == DeliveryState.DELIVERED) & table.c.reason.is_not(None),
    )
    again: dict[str, Any] = {
        "state": DeliveryState.PENDING,
        "not_before_ms": now_ms(),
        "give_up_ms": now_ms() + give_up_ms,
        "delivered_at": None,
        "finished_at": None,
    }
    done = session.execute(
        update(table)
        .where(table.c.destination_id.in_(used), table.c.study_id.in_(of_study), is_unfinished, is_last)
        .values(again)
        .returning(table.c.study_id, table.c.destination_id)
    ).all()
    if not done:
        return 0
    reached = table_of(Destination)
    session.execute(
        update(reached)
        .where(reached.c.id.in_({row.destination_id for row in done}))
        .values(failures=0, not_before_ms=0)
    )
    event = record(session, Act.DELIVERY_RETRIED, actor, detail={"deliveries": len(done), "why": why})
    for some in chunks(sorted({row.study_id for row in done})):
        named = session.execute(select(Study.study_uid, Study.side).where(Study.id.in_(some)))
        name_studies(session, event, [(uid, side) for uid, side in named])
    return len(done)
