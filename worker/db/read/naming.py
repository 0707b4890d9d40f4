"""Which study a person means who names it by its Study Instance UID, an accession number or a Patient ID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, or_, select

from worker.db.identity.aliases import surviving_id
from worker.db.schema.views import WORKLIST
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session


class StudyKey(NamedTuple):
    """A row of the worklist."""

    study_uid: str
    side: int


def is_meant(session: Session, columns: Any, name: str) -> ColumnElement[bool]:
    """The condition for the rows that a name means; `columns`: those of the worklist, or the table of studies.

    A Patient ID that was merged into another one stands for that one.
    """
    keys = (columns.study_uid, columns.accession_number, columns.patient_id)
    return or_(*(column == name for column in keys), columns.patient_id == surviving_id(session, name))


def meant(session: Session, name: str) -> list[StudyKey]:
    """The rows of the worklist that a name means, none or any number."""
    named = select(WORKLIST.c.study_uid, WORKLIST.c.side).where(is_meant(session, WORKLIST.c, name))
    return [StudyKey(*row) for row in session.execute(named.order_by(WORKLIST.c.study_uid, WORKLIST.c.side))]


def named_study(session: Session, name: str, side: int) -> StudyKey:
    """The row of this side that a name means; raises `UsageError` unless there is exactly one."""
    found = [key for key in meant(session, name) if key.side == side]
    check_one(found, name, side)
    return found[0]


def check_one(found: Sequence[StudyKey], name: str, side: int | None = None) -> None:
    """Raise `UsageError`, which says what to name instead, unless a name means one row; `side`: what was said of it."""
    if not found:
        raise none_matches(name, side)
    if len(found) > 1:
        is_one_study = len({key.study_uid for key in found}) == 1
        how = (
            "say with --side which patient, as the worklist numbers them"
            if is_one_study
            else "give a Study Instance UID"
        )
        what = "patients have the study" if is_one_study else "studies match"
        msg = f"{len(found)} {what} {name}: {how}"
        raise UsageError(msg)


def none_matches(name: str, side: int | None = None) -> UsageError:
    """The error of a name that means no study."""
    of_side = "" if side is None else f" with side {side}"
    return UsageError(
        f"no study matches {name}{of_side}: give a Study Instance UID, an accession number or a Patient ID of the worklist"
    )
