"""What all tables share: the number of a row, the names of constraints, and CHECKs made from enums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

if TYPE_CHECKING:
    from enum import StrEnum

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
