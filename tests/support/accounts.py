"""A PostgreSQL database whose tables belong to one account while Auscult runs under another."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from worker.db.schema.migrate import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import ExternalPostgres, PostgresServer


@dataclass(frozen=True, slots=True)
class TwoAccounts:
    """The URLs of one database by its two accounts."""

    owner: str
    application: str

    @property
    def settings(self) -> dict[str, str]:
        """The settings that name both, without their prefix, in lower case."""
        return {"database_url": self.application, "owner_database_url": self.owner}


@contextmanager
def two_accounts(server: PostgresServer | ExternalPostgres) -> Iterator[TwoAccounts]:
    """Give an empty database with an owner that is no superuser, and an account for Auscult that owns nothing."""
    url = sa.make_url(server.create_database())
    owner, application = (f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("owner", "application"))
    administrator = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(administrator, autocommit=True) as connection:
        for role in (owner, application):
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        connection.execute(f'ALTER DATABASE "{url.database}" OWNER TO {owner}')
        for role in ROLES:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
                connection.execute(f"CREATE ROLE {role} NOLOGIN")
    try:
        urls = [
            url.set(username=role, password="secret").render_as_string(hide_password=False)
            for role in (owner, application)
        ]
        yield TwoAccounts(*urls)
    finally:
        server.drop_database(url.render_as_string(hide_password=False))
        with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
            for role in (owner, application):
                connection.execute(f"DROP ROLE {role}")
