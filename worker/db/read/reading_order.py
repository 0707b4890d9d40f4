"""The reading order of the worklist, in pages.

`priority_rank` is the moment at which a row is due, in ms since 1970, behind a digit that is 1 for rows that were read
(migrations, 0019).
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, or_, tuple_

from worker.db.schema.views import WORKLIST, Row
from worker.errors import UsageError

#: The digit before the ms of a row that was read.
_READ = 10**14


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
        if not (rank.isdecimal() and study_uid and side.isdecimal() and len(rank) <= len(str(_READ))):
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
