"""What is said of a view and of each of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The type of a column; its value is PostgreSQL's type."""

    TEXT = "text"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    REAL = "double precision"
    BOOLEAN = "boolean"
    DATE = "date"
    #: In UTC.
    MOMENT = "timestamp with time zone"
    #: A list of codes.
    CODES = "jsonb"
    #: A list of codes as JSON in a text, as it was before there was `CODES`.
    CODES_TEXT = "text with JSON"

    @property
    def in_sqlite(self) -> str:
        """What SQLite holds: it has no types for moments, dates, JSON and truth."""
        return _IN_SQLITE.get(self, "INTEGER" if self in _WHOLE else "TEXT")


_WHOLE = (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT)
_IN_SQLITE = {
    Kind.REAL: "REAL",
    Kind.BOOLEAN: "INTEGER: 0 or 1",
    Kind.DATE: "TEXT: YYYY-MM-DD",
    Kind.MOMENT: "TEXT: YYYY-MM-DD HH:MM:SS.ffffff",
    Kind.CODES: "TEXT with JSON",
    Kind.CODES_TEXT: "TEXT with JSON",
}


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """A column of a public view.

    Attributes
    ----------
    name, kind
        As in the database.
    meaning
        What it says, in a few words.
    unit
        Of a number: what is counted or measured; empty where the number is a name.
    null
        What NULL says; empty where the column is never NULL.
    example
        A value, as the database shows it.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    null: str = ""
    example: str = ""

    @property
    def comment(self) -> str:
        """Meaning, unit and NULL in one line, as PostgreSQL keeps it."""
        parts = [self.meaning, self.unit and f"unit: {self.unit}", self.null and f"NULL: {self.null}"]
        return "; ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class View:
    """A public view: what a row is, and its columns in their order."""

    name: str
    meaning: str
    columns: tuple[ViewColumn, ...]

    def __getitem__(self, name: str) -> ViewColumn:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)
