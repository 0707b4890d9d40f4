"""SQL that is compiled once in a process of tests, and not again for the database of each test.

Each test has a database of its own, and so an engine of its own, and SQLAlchemy keeps the statements that it has
compiled per engine. A worker compiles a statement once in its life; the tests compiled the same statements a thousand
times, which was half of their time. Here the engines of one kind of database share what was compiled. Everything else
stays the engine's own: connections, listeners and errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

if TYPE_CHECKING:
    from sqlalchemy import Engine

_COMPILED: dict[Any, Any] = {}


class _CompiledOnce:
    """A dialect that is equal to each other one with the same options: the key of a compiled statement holds it."""

    supports_statement_cache = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = frozenset(options.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CompiledOnce) and (type(self), self._options) == (type(other), other._options)

    def __hash__(self) -> int:
        return hash((type(self), self._options))

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Let the engine look up its statements where all do."""
        engine.update_execution_options(compiled_cache=_COMPILED)


class SQLite(_CompiledOnce, SQLiteDialect_pysqlite):
    """SQLAlchemy's dialect for SQLite."""

    supports_statement_cache = True


class PostgreSQL(_CompiledOnce, PGDialect_psycopg):
    """SQLAlchemy's dialect for PostgreSQL with psycopg."""

    supports_statement_cache = True


def compile_once() -> None:
    """Give the engines that are made from now on these dialects."""
    registry.register("sqlite.pysqlite", __name__, SQLite.__name__)
    registry.register("postgresql.psycopg", __name__, PostgreSQL.__name__)
