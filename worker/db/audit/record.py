"""Write an audit event, in the transaction of the act that it tells of."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from worker.db.audit.codes import CODES, EventOutcome
from worker.db.schema.audit import AuditEvent
from worker.db.schema.sql import fitted, table_of
from worker.db.schema.types import now_utc
from worker.environment import login

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from worker.db.audit.codes import Act

#: Longest `detail`, in characters of JSON: a message of PS3.15 A.6 must fit into 32,768 octets.
DETAIL_MAX = 4_000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, and from where.

    Attributes
    ----------
    name
        The user at the command line, an AE title, or a process that acts by itself.
    origin
        Address or host, LOGIN@HOST of a command; empty where it is not known.
    """

    name: str
    origin: str = ""

    @classmethod
    def user(cls, name: str = "") -> Actor:
        """The user of a command: the name that was given for the record, by default the login name."""
        return cls(name or login(), f"{login()}@{socket.gethostname()}")

    @classmethod
    def process(cls, name: str) -> Actor:
        """A process of this machine that acts by itself."""
        return cls(name, socket.gethostname())


_ADD_ALL = insert(table_of(AuditEvent)).values(at=now_utc())
_ADD = _ADD_ALL.returning(table_of(AuditEvent).c.id)


def record(  # noqa: PLR0913 - a row has as many columns, and each caller names the few it fills
    session: Session,
    act: Act,
    actor: Actor,
    *,
    outcome: EventOutcome = EventOutcome.SUCCESS,
    study_uid: str = "",
    side: int = 0,
    patient_key: str = "",
    sop_uid: str = "",
    detail: Mapping[str, object] | None = None,
) -> int:
    """Add an event; it is committed, or rolled back, with the act. Returns its number.

    An act on several studies names them by `worker.db.audit.objects`, with that number.

    Parameters
    ----------
    session
        The session of the act.
    act
        What was done; `CODES` has its codes.
    actor
        Who did it and from where.
    outcome
        How it ended.
    study_uid, side
        The study as `study.study_uid` and `study.side` name it; empty where no study is concerned.
    patient_key
        `image.patient_key`: SHA-256 of issuer and Patient ID, never the ID itself.
    sop_uid
        The object; empty where no single object is concerned.
    detail
        What else tells: counts, row numbers, names of settings and files. No patient data. Values that make the JSON
        longer than `DETAIL_MAX` are replaced by their lengths.
    """
    values = event_of(
        act,
        actor,
        outcome=outcome,
        study_uid=study_uid,
        side=side,
        patient_key=patient_key,
        sop_uid=sop_uid,
        detail=detail,
    )
    return int(session.execute(_ADD, values).scalar_one())


def record_all(session: Session, events: Sequence[dict[str, Any]]) -> None:
    """Add events that `event_of` made, in this order."""
    if events:
        session.execute(_ADD_ALL, list(events))


def event_of(  # noqa: PLR0913 - as `record`
    act: Act,
    actor: Actor,
    *,
    outcome: EventOutcome = EventOutcome.SUCCESS,
    study_uid: str = "",
    side: int = 0,
    patient_key: str = "",
    sop_uid: str = "",
    detail: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """The columns of an event; parameters as of `record`."""
    code = CODES[act]
    values = {
        "act": act.value,
        "event_code": code.event,
        "event_type_code": code.type,
        "action": code.action.value,
        "outcome": int(outcome),
        "who": storable(actor.name),
        "origin": storable(actor.origin),
        "study_uid": storable(study_uid),
        "side": side,
        "patient_key": patient_key,
        "sop_uid": storable(sop_uid),
        "detail": bounded_json(detail or {}),
    }
    return fitted(AuditEvent, values)


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot store: NUL characters and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def bounded_json(detail: Mapping[str, object]) -> str:
    """The values as JSON of at most `DETAIL_MAX` characters; the longest are replaced by their lengths."""
    parts = {_json(str(name)[:64]): _json(value) for name, value in detail.items()}
    too_long = sum(len(name) + len(text) + 2 for name, text in parts.items()) + 1 - DETAIL_MAX
    for name in sorted(parts, key=lambda name: len(parts[name]), reverse=True):
        shorter = _json(f"{len(parts[name])} characters")
        if too_long <= 0 or len(shorter) >= len(parts[name]):
            break
        too_long -= len(parts[name]) - len(shorter)
        parts[name] = shorter
    while too_long > 0:
        name, text = parts.popitem()
        too_long -= len(name) + len(text) + 2
    return "{" + ",".join(f"{name}:{text}" for name, text in parts.items()) + "}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)
