"""Column types and clock functions that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import BigInteger, DateTime, Dialect, String, Text
from sqlalchemy.ext.compiler import compiles
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
