"""How an attempt to deliver ends: what the row says then, when the next one follows, and what is audited."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from worker.db.audit.codes import Act, EventOutcome
from worker.db.audit.objects import patient_of
from worker.db.audit.record import Actor, record
from worker.db.delivery.changes import IS_OPEN
from worker.db.delivery.claims import is_held
from worker.db.delivery.outcome import DeliveryReason, Ended, ObjectKind, Outcome, decoded, kept
from worker.db.schema.engine import in_transaction
from worker.db.schema.sql import table_of
from worker.db.schema.states import DeliveryState, DestinationKind
from worker.db.schema.study import Delivery, Destination, Study
from worker.db.schema.types import now_ms, now_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.orm import Session, sessionmaker

    from worker.db.delivery.outcome import ClaimedDelivery

#: Pauses double from the site's first one up to these, in ms: of a delivery, and of a destination that is away, which costs
#: no more than a connection to find out.
LONGEST_PAUSE_MS, LONGEST_ABSENCE_MS = 3_600_000, 300_000
_WELL = (Ended.DELIVERED, Ended.CONFIRMED, Ended.UNCONFIRMED)
_STATE_OF = {
    Ended.DELIVERED: DeliveryState.DELIVERED,
    Ended.CONFIRMED: DeliveryState.CONFIRMED,
    Ended.REFUSED: DeliveryState.FAILED,
    Ended.SUPERSEDED: DeliveryState.SUPERSEDED,
}
_ACT = {DestinationKind.C_STORE: Act.RESULT_DELIVERED, DestinationKind.WEBHOOK: Act.RESULT_NOTIFIED}


@dataclass(frozen=True, slots=True)
class Pauses:
    """The first pause after a failed attempt, and how long a first confirmation may take; milliseconds. Both double."""

    first_ms: int
    confirmation_ms: int

    def after(self, attempts: int, longest_ms: int = LONGEST_PAUSE_MS) -> int:
        """The pause after so many failed attempts."""
        return min(self.first_ms * _doubled(attempts), longest_ms)

    def to_confirm(self, attempts: int) -> int:
        """How long to wait for a confirmation before it is asked for again."""
        return self.confirmation_ms * _doubled(attempts)


def _doubled(attempts: int) -> int:
    return 1 << min(max(attempts - 1, 0), 20)


def finish(sessions: sessionmaker[Session], claimed: ClaimedDelivery, outcome: Outcome, pauses: Pauses) -> bool:
    """End an attempt, with its audit event where content left; False where the claim is lost."""

    def work(session: Session) -> bool:
        row = session.scalar(
            select(Delivery).where(is_held(claimed)).with_for_update().execution_options(populate_existing=True)
        )
        if row is None:
            return False
        _end(session, row, outcome, pauses)
        _note_destination(session, row.destination_id, outcome, pauses)
        return True

    return in_transaction(sessions, work)


def _end(session: Session, row: Delivery, outcome: Outcome, pauses: Pauses) -> None:
    """Write how an attempt ended into its row, which this transaction has locked."""
    moment, clock = session.execute(select(now_utc(), now_ms())).one()
    destination = session.get_one(Destination, row.destination_id, populate_existing=True)
    _audit(session, row, destination, outcome)
    is_overtaken = destination.ended_at is not None or _has_later(session, row)
    row.lease_owner = row.lease_until_ms = None
    row.reason = outcome.reason
    if outcome.reason is DeliveryReason.NOT_COMMITTED:
        # The destination does not have it after all.
        row.delivered_at = None
    elif outcome.how in _WELL:
        row.delivered_at = row.delivered_at or moment
    row.state = _state_after(row, outcome, is_over=clock >= row.give_up_ms, is_overtaken=is_overtaken)
    if row.state is DeliveryState.PENDING:
        is_lost = outcome.reason is DeliveryReason.SENDER_LOST
        waits_for_destination = outcome.is_destination_away and not is_lost
        row.not_before_ms = clock + (0 if waits_for_destination else _pause_ms(outcome, pauses.after(row.attempts)))
    elif row.state is DeliveryState.UNCONFIRMED:
        row.not_before_ms = min(clock + pauses.to_confirm(row.attempts), row.give_up_ms)
    else:
        row.finished_at = moment
    if row.delivered_at is not None and row.reason is None and _lacks_heat_map(row, destination):
        row.reason = DeliveryReason.HEAT_MAP_MISSING
    session.flush()


def _lacks_heat_map(row: Delivery, destination: Destination) -> bool:
    """Whether a destination that is to have heat maps was given a report without one."""
    kinds = {one.kind for one in decoded(row.objects)}
    return destination.heat_map and ObjectKind.REPORT in kinds and ObjectKind.HEAT_MAP not in kinds


def _pause_ms(outcome: Outcome, ours_ms: int) -> int:
    """Our own pause, or the longer one that the destination asks for."""
    return max(ours_ms, round((outcome.pause_s or 0.0) * 1000))


def _state_after(row: Delivery, outcome: Outcome, *, is_over: bool, is_overtaken: bool) -> DeliveryState:
    """The state of a row whose `delivered_at` is set as the outcome says; `is_overtaken`: a later one says what holds, or the destination was removed."""
    if outcome.how not in (Ended.RETRY, Ended.UNCONFIRMED):
        return _STATE_OF[outcome.how]
    if row.delivered_at is not None:
        if not (is_over or is_overtaken):
            return DeliveryState.UNCONFIRMED
        row.reason = DeliveryReason.COMMITMENT_MISSING
        return DeliveryState.DELIVERED
    if is_overtaken:
        return DeliveryState.SUPERSEDED
    return DeliveryState.FAILED if is_over else DeliveryState.PENDING


def _has_later(session: Session, row: Delivery) -> bool:
    """Whether a later delivery says what holds."""
    later = select(Delivery.id).where(
        Delivery.destination_id == row.destination_id,
        Delivery.study_id == row.study_id,
        Delivery.number > row.number,
    )
    return session.scalar(later.limit(1)) is not None


def _audit(session: Session, row: Delivery, destination: Destination, outcome: Outcome) -> None:
    """An attempt by which content left is an event: the destination may have it, also where the attempt failed."""
    is_well = outcome.how in _WELL
    if row.begun_at is None and not is_well:
        return
    study = session.get_one(Study, row.study_id)
    detail = {
        "delivery": row.id,
        "destination": destination.name,
        "action": row.action.value,
        "outcome": outcome.how.value,
        "reason": outcome.reason.value if outcome.reason else None,
        "objects": len(decoded(row.objects)),
    }
    record(
        session,
        _ACT[destination.kind],
        Actor.process("auscult deliver"),
        outcome=EventOutcome.SUCCESS if is_well else EventOutcome.MINOR_FAILURE,
        study_uid=study.study_uid,
        side=study.side,
        patient_key=patient_of(session, study.study_uid, study.side),
        sop_uid=row.report_uid or "",
        detail=detail,
    )


def _note_destination(session: Session, destination_id: int, outcome: Outcome, pauses: Pauses) -> None:
    """Put a destination off that cannot be reached, so that its other deliveries need not find that out one by one."""
    table = table_of(Destination)
    row = update(table).where(table.c.id == destination_id)
    if outcome.is_destination_away:
        failures = session.scalar(select(table.c.failures).where(table.c.id == destination_id)) or 0
        pause = _pause_ms(outcome, pauses.after(failures + 1, LONGEST_ABSENCE_MS))
        session.execute(row.values(failures=failures + 1, not_before_ms=now_ms() + pause))
    elif outcome.how is not Ended.SUPERSEDED:
        session.execute(row.where(table.c.failures > 0).values(failures=0, not_before_ms=0))


def any_lost(session: Session) -> bool:
    """Whether a lease has run out; asked without a lock."""
    lost = select(Delivery.id).where(
        IS_OPEN, Delivery.state == DeliveryState.CLAIMED, Delivery.lease_until_ms < now_ms()
    )
    return session.scalar(lost.limit(1)) is not None


def release(sessions: sessionmaker[Session], pauses: Pauses, owner: str | None = None) -> int:
    """End the attempts of a sender that has ended, or of all whose leases have run out; how many that were."""

    def work(session: Session) -> int:
        held = select(Delivery).where(IS_OPEN, Delivery.state == DeliveryState.CLAIMED)
        is_lost = Delivery.lease_owner == owner if owner else Delivery.lease_until_ms < now_ms()
        rows = session.scalars(held.where(is_lost).order_by(Delivery.id).with_for_update(skip_locked=True)).all()
        for row in rows:
            lost_by = Outcome(Ended.RETRY, DeliveryReason.SENDER_LOST, is_destination_away=True)
            _end(session, row, lost_by, pauses)
            _note_destination(session, row.destination_id, lost_by, pauses)
        return len(rows)

    return in_transaction(sessions, work)


class AnswerTaken(Enum):
    """What became of an answer to a request for storage commitment."""

    TAKEN = auto()
    #: The delivery is being sent: to be offered again.
    LATER = auto()
    #: No open delivery has asked for it.
    UNKNOWN = auto()


def confirm(
    sessions: sessionmaker[Session],
    transaction_uid: str,
    pauses: Pauses,
    covers: Callable[[Iterable[str]], bool],
) -> AnswerTaken:
    """Take the answer to a request for storage commitment; of a delivery that asked again, the last request counts.

    `covers`: whether the peer commits itself to each of some objects, by their SOP Instance UIDs.
    """

    def work(session: Session) -> AnswerTaken:
        row = session.scalar(select(Delivery).where(Delivery.transaction_uid == transaction_uid).with_for_update())
        if row is None or row.finished_at is not None:
            return AnswerTaken.UNKNOWN
        if row.state is DeliveryState.CLAIMED:
            return AnswerTaken.LATER
        asked = [one.sop_uid for one in kept(decoded(row.objects))]
        outcome = Outcome(Ended.CONFIRMED) if covers(asked) else Outcome(Ended.RETRY, DeliveryReason.NOT_COMMITTED)
        _end(session, row, outcome, pauses)
        return AnswerTaken.TAKEN

    return in_transaction(sessions, work)
