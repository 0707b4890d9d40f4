"""The rule of `rules.kept_because` as SQL, over `image` joined with `study`; what holds a file back is one named function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, case, exists, false, func, literal, or_, select
from sqlalchemy.orm import aliased

from worker.db.identity.withdrawals import is_expired, is_withdrawn
from worker.db.retention.rules import Kept
from worker.db.schema.states import (
    OPEN_DELIVERY_STATES,
    OPEN_TASK_STATES,
    TERMINAL_STATES,
    DeliveryState,
    HeldFile,
    NoteVerdict,
)
from worker.db.schema.study import Commitment, Conflict, Delivery, Image, Study, Task, Withdrawal
from worker.db.schema.types import now_ms

if TYPE_CHECKING:
    from datetime import datetime

    from worker.db.retention.rules import FileRule


def is_held(kind: HeldFile) -> ColumnElement[bool]:
    """SQL: whether an image has this file, as far as its row says."""
    if kind is HeldFile.ORIGINAL:
        return Image.original_purged_at.is_(None)
    return and_(Image.film_key.is_not(None), Image.film_purged_at.is_(None))


def has_open_task() -> ColumnElement[bool]:
    """SQL: whether work on an image is still to be done, live or of a batch."""
    task = aliased(Task)
    return exists().where(task.image_id == Image.id, task.state.in_(OPEN_TASK_STATES)).correlate(Image)


def has_open_conflict() -> ColumnElement[bool]:
    """SQL: whether an identity conflict of a study is open."""
    ends = or_(Conflict.held_study_id == Study.id, Conflict.claim_study_id == Study.id)
    return exists().where(Conflict.closed_at.is_(None), ends).correlate(Study)


def withdrawn_at() -> ColumnElement[datetime | None]:
    """SQL: when an image was withdrawn by a rejection note that stands; NULL where none does."""
    met = select(func.max(Withdrawal.at)).where(
        Withdrawal.image_id == Image.id, Withdrawal.verdict == NoteVerdict.APPLIED
    )
    return case((is_withdrawn(), met.correlate(Image).scalar_subquery()), else_=None)


def is_expired_at_source() -> ColumnElement[bool]:
    """SQL: whether a rejection note says that the sender's own retention period of an image is over (113039)."""
    return is_expired()


def is_undelivered() -> ColumnElement[bool]:
    """SQL: whether an answer of a study is being delivered, or is to be, or may have to be sent again until it is confirmed.

    One that is over its time keeps nothing, although it may be tried once more: a destination that is away for long must not
    fill the disk.
    """
    is_due = or_(Delivery.state == DeliveryState.CLAIMED, Delivery.give_up_ms > now_ms())
    return (
        exists().where(Delivery.study_id == Study.id, Delivery.state.in_(OPEN_DELIVERY_STATES), is_due).correlate(Study)
    )


def is_committed(now: datetime) -> ColumnElement[bool]:
    """SQL: whether storage commitment keeps an image's original."""
    return exists().where(Commitment.image_id == Image.id, Commitment.until > now).correlate(Image)


def kept_because(kind: HeldFile, rule: FileRule, now: datetime) -> ColumnElement[str | None]:
    """SQL: why a file stays, a `Kept`; NULL where it may go. Equal to `rules.kept_because`, as a test holds."""
    withdrawn, expired = withdrawn_at(), is_expired_at_source()
    holds: list[tuple[Kept, ColumnElement[bool]]] = [
        (Kept.UNFINISHED, or_(Study.state.not_in(TERMINAL_STATES), has_open_task())),
        (Kept.CONFLICT, has_open_conflict()),
        (Kept.WITHDRAWN, and_(withdrawn.is_not(None), withdrawn > now - rule.withdrawn_for)),
        (Kept.UNDELIVERED, is_undelivered()),
        (Kept.COMMITTED, is_committed(now) if kind is HeldFile.ORIGINAL else false()),
        (Kept.STATE, and_(Study.state.not_in(rule.states), withdrawn.is_(None), ~expired)),
        (Kept.AGE, and_(Study.last_rx_at > now - rule.min_age, ~expired)),
    ]
    return case(*((applies, literal(reason.value)) for reason, applies in holds), else_=None)


def may_go(kind: HeldFile, rule: FileRule, now: datetime) -> ColumnElement[bool]:
    """SQL: whether an image has this file and the rule lets it go."""
    # The age again, outside of the CASE, for the index.
    is_old = or_(Study.last_rx_at <= now - rule.min_age, is_expired_at_source())
    return and_(is_held(kind), is_old, kept_because(kind, rule, now).is_(None))
