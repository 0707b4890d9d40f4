"""The reading order of the worklist: pages of it, and where in it the rows of a state or label are.

`priority_rank` is a digit for the band, a digit for urgent studies and 13 digits of time (migrations, 0017). The bands: 0 and
1 PNEUMONIA, 2 withheld, 3 failed, 4 unfinished, 5 not applicable, 6 and 7 NORMAL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, and_, or_, tuple_

from model.labels import Label
from worker.db.schema.states import OPEN_STATES, StudyState
from worker.db.schema.views import WORKLIST, Row
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_OF_BAND = 10**14
#: The first and the last band of a state or label, as the constraints of `study` allow it.
_BANDS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(OPEN_STATES, (0, 4)),
    StudyState.FINAL: (0, 7),
    StudyState.WITHHELD: (2, 2),
    StudyState.FAILED: (3, 3),
    StudyState.NOT_APPLICABLE: (5, 5),
    Label.PNEUMONIA: (0, 1),
    Label.NORMAL: (6, 7),
}


class Place(NamedTuple):
    """A place in the reading order: that of a row. Rows of the same millisecond go by their key."""

    priority_rank: int
    study_uid: str
    side: int

    @classmethod
    def of(cls, row: Row) -> Place:
        """The place of a row of the worklist."""
        return cls(row["priority_rank"], row["study_uid"], row["side"])

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read RANK/STUDY_UID/SIDE; raises `UsageError` for another text."""
        rank, _, rest = text.partition("/")
        study_uid, _, side = rest.rpartition("/")
        if not (rank.isdecimal() and study_uid and side.isdecimal() and len(rank) <= len(str(8 * _OF_BAND))):
            msg = "--after takes what the page before named: RANK/STUDY_UID/SIDE, from its columns priority_rank, study_uid, side"
            raise UsageError(msg)
        return cls(int(rank), study_uid, int(side))

    def __str__(self) -> str:
        """RANK/STUDY_UID/SIDE."""
        return "/".join(map(str, self))


ORDER = (WORKLIST.c.priority_rank, WORKLIST.c.study_uid, WORKLIST.c.side)


def is_after(place: Place) -> ColumnElement[bool]:
    """SQL: whether a row of the worklist comes after a place. The first condition is the one that the index answers."""
    rank, study_uid, side = ORDER
    is_later = or_(rank > place.priority_rank, tuple_(study_uid, side) > tuple_(place.study_uid, place.side))
    return and_(rank >= place.priority_rank, is_later)


def is_among(values: Sequence[str]) -> ColumnElement[bool]:
    """SQL: whether the rank of a row is one that rows of these states or labels have, so that others are not read."""
    bands = [_BANDS[value] for value in values]
    first, last = min(low for low, _ in bands), max(high for _, high in bands)
    return WORKLIST.c.priority_rank.between(first * _OF_BAND, (last + 1) * _OF_BAND - 1)
