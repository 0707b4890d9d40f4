"""What all tables share: types and clocks that mean the same on both databases, numbers, names of constraints, CHECKs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, Index, Integer, MetaData, String, Text, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.sql.compiler import SQLCompiler

E = TypeVar("E", bound=StrEnum)

#: How far a stored moment may lie ahead of the database's clock before that clock counts as set back, in ms.
CLOCK_SLACK_MS = 5_000


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; refuses values without a zone, because SQLite drops the zone and would read them back wrong."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a value to UTC; raises `ValueError` for one without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a time without a zone cannot be stored"
            raise ValueError(msg)
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EnumText(TypeDecorator[E], Generic[E]):
    """A StrEnum stored as text; a named CHECK of the table closes the list, not a type of the database."""

    impl = String
    cache_ok = True

    def __init__(self, enum: type[E], length: int) -> None:
        super().__init__(length)
        self.enum = enum

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the text of a member; raises `ValueError` for any other value."""
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:  # noqa: ARG002
        """Return the member."""
        return None if value is None else self.enum(value)


class CodeList(TypeDecorator[tuple[str, ...]]):
    """A sorted set of codes as JSON text, `["AGE_UNKNOWN"]`, which programs can show and both databases can search."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return each code once and in order, so that equal sets are equal texts."""
        return None if value is None else json.dumps(sorted({str(code) for code in value}), separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...] | None:  # noqa: ARG002
        """Return the codes; a view may show them as PostgreSQL's jsonb, which the driver has read already."""
        if value is None:
            return None
        return tuple(json.loads(value) if isinstance(value, str) else value)


class now_ms(FunctionElement[int]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock in milliseconds since 1970; all workers share this clock."""

    type = BigInteger()
    inherit_cache = True


class now_utc(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock as a moment in UTC."""

    type = UtcDateTime()
    inherit_cache = True


# PostgreSQL's now() is the start of the transaction: a lease counted from there could be over when it is granted.
NOW_MS = {
    "postgresql": "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
# SQLite compares times as text and its %f has three decimals, while SQLAlchemy writes six.
NOW_UTC = {
    "postgresql": "clock_timestamp()",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
}


@compiles(now_ms)
def _now_ms(_element: now_ms, compiler: SQLCompiler, **_: Any) -> str:
    return NOW_MS[compiler.dialect.name]


@compiles(now_utc)
def _now_utc(_element: now_utc, compiler: SQLCompiler, **_: Any) -> str:
    return NOW_UTC[compiler.dialect.name]


NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite numbers rows by itself only in a column that is declared INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")


def one_of(column: str, values: type[StrEnum], name: str) -> CheckConstraint:
    """A CHECK that a column holds a value of an enum."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def index_of_rows(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index that holds the rows under a condition alone; a query uses it where it has the same condition."""
    rows = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=rows, sqlite_where=rows)


def index_of_named(table: str, column: str) -> Index:
    """An index of a column that names a row and is empty in most rows; who deletes the named row looks there."""
    return index_of_rows(f"ix_{table}_{column}", column, where=f"{column} IS NOT NULL")


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-1, comment="number of the row")

    def __repr__(self) -> str:
        """Show the row's number alone: reprs end in logs, and rows hold patient data."""
        return f"<{type(self).__name__} {self.__dict__.get('id')}>"
