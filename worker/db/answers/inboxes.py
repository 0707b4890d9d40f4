"""How far the listeners have registered what they acknowledged.

Each listener publishes for its spool a moment of the database's clock up to which everything is registered. A study is
complete once every live listener has passed the end of the study's quiet time. A silent listener holds up NORMAL alone,
until it is back or retired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, func, select, update

from worker.db.answers.silence import LIVE, is_silent, state_of
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.schema.sql import fitted, insert_unless_there, table_of
from worker.db.schema.study import Inbox
from worker.db.schema.types import now_ms, now_utc
from worker.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Published:
    """What a listener publishes of its spool; `registered_until_ms` None leaves the moment published before."""

    uid: str
    host: str
    pid: int
    registered_until_ms: int | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Up to when live and silent listeners have registered all they acknowledged.

    In ms of the database's clock; None where there is no such listener.
    """

    live_until_ms: int | None = None
    silent_until_ms: int | None = None

    def is_registered(self, moment_ms: int) -> bool:
        """Whether every live listener has registered what came until then."""
        return self.live_until_ms is None or self.live_until_ms >= moment_ms

    def is_silent(self, moment_ms: int) -> bool:
        """Whether a silent listener may still hold something that came until then."""
        return self.silent_until_ms is not None and self.silent_until_ms < moment_ms

    def is_all_registered(self, moment_ms: int) -> bool:
        """Whether no listener, live or silent, can hold anything that came until then."""
        return self.is_registered(moment_ms) and not self.is_silent(moment_ms)


# Built once: a listener executes these every second or so.
_INBOX = table_of(Inbox).c
_CLOCK = select(now_ms())


_PUBLISH = (
    update(table_of(Inbox))
    .where(_INBOX.uid == bindparam("of_uid"))
    # The other columns are among the parameters.
    .values(
        started_at=case((_INBOX.pid == bindparam("of_pid"), _INBOX.started_at), else_=now_utc()),
        heartbeat_at=now_utc(),
        **dict.fromkeys(("closed_at", "retired_at", "retired_by", "retired_why")),
    )
    .returning(_INBOX.id)
)


def clock(session: Session) -> int:
    """The database's clock in ms since 1970."""
    return session.execute(_CLOCK).scalar_one()


def publish(session: Session, published: Published) -> None:
    """Store how far a listener is; a closed or retired one becomes live by this."""
    said: dict[str, Any] = {"host": published.host, "pid": published.pid, "waiting": published.waiting}
    if published.registered_until_ms is not None:
        said["registered_until_ms"] = published.registered_until_ms
    said = fitted(Inbox, said)
    which = {"of_uid": published.uid, "of_pid": published.pid}
    known = session.execute(_PUBLISH, which | said).scalar_one_or_none()
    if known is None:
        first = {"uid": published.uid, "registered_until_ms": 0, "started_at": now_utc(), "heartbeat_at": now_utc()}
        insert_unless_there(session, Inbox, [first | said], "uid")


def close(session: Session, uid: str) -> None:
    """Record the orderly end of a listener with an empty spool: it holds up no study until it starts again."""
    session.execute(
        update(Inbox)
        .where(Inbox.uid == uid)
        .values(closed_at=now_utc(), waiting=0)
        .execution_options(synchronize_session=False)
    )


# Built once: each film executes it.
_IN_SERVICE = select(_INBOX.registered_until_ms, _INBOX.heartbeat_at, now_utc(), now_ms()).where(
    _INBOX.closed_at.is_(None), _INBOX.retired_at.is_(None)
)


def watermarks(session: Session) -> Watermarks:
    """How far the listeners are, without those closed or retired."""
    rows = session.execute(_IN_SERVICE).all()
    live: list[int] = []
    silent: list[int] = []
    for until, heartbeat, moment, clock_ms in rows:
        # A moment ahead of the clock was published before the clock was set back, and says nothing.
        group = silent if is_silent(heartbeat, moment) or until > clock_ms else live
        group.append(0 if until > clock_ms else until)
    return Watermarks(min(live, default=None), min(silent, default=None))


def retire(session: Session, number: int, who: str, why: str) -> None:
    """Let a listener hold up no study any more; raises `UsageError` for a live or unknown one."""
    row = session.execute(select(Inbox).where(Inbox.id == number).with_for_update()).scalar_one_or_none()
    if row is None:
        count = session.execute(select(func.count()).select_from(Inbox)).scalar_one()
        msg = f"no listener {number}: 'auscult listener list' shows the {count} that are known"
        raise UsageError(msg)
    moment = session.execute(select(now_utc())).scalar_one()
    if state_of(row.heartbeat_at, row.closed_at, row.retired_at, moment) == LIVE:
        msg = f"listener {number} on {row.host} is running: stop it first"
        raise UsageError(msg)
    row.retired_at = session.execute(select(now_utc())).scalar_one()
    kept = fitted(Inbox, {"retired_by": who, "retired_why": why})
    row.retired_by, row.retired_why = kept["retired_by"], kept["retired_why"]
    record(session, Act.LISTENER_RETIRED, Actor.user(who), detail={"listener": number, "host": row.host})
