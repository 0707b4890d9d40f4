"""Purges: one runs at a time, held by a lease on the database's clock; what each removed is added up in its row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.db.schema.sql import fitted
from worker.db.schema.states import PurgeEnd, PurgeKind
from worker.db.schema.study import Purge
from worker.db.schema.types import now_ms, now_utc
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.orm import Session

    from worker.db.audit.record import Actor

#: A purge that has not renewed its lease for so long counts as dead; each of its transactions takes seconds.
LEASE_MS = 300_000


class PurgeRuns(UsageError):
    """Another purge is running."""


class PurgeLost(UsageError):
    """A purge was silent for so long that another one took its place."""


@dataclass(frozen=True, slots=True)
class Order:
    """What kind of purge it is, who ordered it, why, and by which rules it chooses."""

    kind: PurgeKind
    actor: Actor
    why: str
    rules: Mapping[str, Any]


def begin(session: Session, order: Order) -> int:
    """Begin a purge; raises `PurgeRuns` while another one runs. One whose process died is ended as STOPPED."""
    session.execute(
        update(Purge)
        .where(Purge.running == 1, Purge.lease_until_ms < now_ms())
        .values(running=None, finished_at=now_utc(), ended_how=PurgeEnd.STOPPED)
        .execution_options(synchronize_session=False)
    )
    texts = fitted(Purge, {"who": order.actor.name, "why": order.why})
    values = {"kind": order.kind, "rules": json.dumps(order.rules, sort_keys=True, default=str), **texts}
    values |= {"started_at": now_utc(), "running": 1, "lease_until_ms": now_ms() + LEASE_MS}
    try:
        with session.begin_nested():
            return session.execute(insert(Purge).values(values).returning(Purge.id)).scalar_one()
    except IntegrityError:
        running = session.execute(select(Purge.id, Purge.who, Purge.started_at).where(Purge.running == 1)).first()
        which = f" ({running.id}, of {running.who}, since {running.started_at:%Y-%m-%d %H:%M}Z)" if running else ""
        msg = f"another purge is running{which}: one runs at a time, so try again when it has ended"
        raise PurgeRuns(msg) from None


def renew(session: Session, purge_id: int, **added: int) -> None:
    """Renew the lease and add to the figures of the purge; raises `PurgeLost` when another one took its place."""
    values: dict[str, Any] = {name: getattr(Purge, name) + count for name, count in added.items() if count}
    kept = session.execute(
        update(Purge)
        .where(Purge.id == purge_id, Purge.running == 1)
        .values(lease_until_ms=now_ms() + LEASE_MS, **values)
        .returning(Purge.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if kept is None:
        msg = f"purge {purge_id} was silent for too long and was ended; start it again"
        raise PurgeLost(msg)


def add(session: Session, purge_id: int, **added: int) -> None:
    """Add to the figures of a purge that may have ended before its files were removed."""
    values = {name: getattr(Purge, name) + count for name, count in added.items() if count}
    if values:
        changed = update(Purge).where(Purge.id == purge_id).values(values)
        session.execute(changed.execution_options(synchronize_session=False))


def finish(session: Session, purge_id: int, end: PurgeEnd) -> None:
    """End a purge; nothing where it was ended before."""
    session.execute(
        update(Purge)
        .where(Purge.id == purge_id, Purge.running == 1)
        .values(running=None, finished_at=now_utc(), ended_how=end)
        .execution_options(synchronize_session=False)
    )


def last_started(session: Session, who: str) -> datetime | None:
    """When the last purge of this name began; None where there was none."""
    return session.scalar(select(func.max(Purge.started_at)).where(Purge.who == who))


def figures(session: Session, purge_id: int) -> dict[str, Any]:
    """What a purge removed."""
    columns = (Purge.n_studies, Purge.n_originals, Purge.n_films, Purge.n_records, Purge.freed_bytes, Purge.ended_how)
    return dict(session.execute(select(*columns).where(Purge.id == purge_id)).mappings().one())
