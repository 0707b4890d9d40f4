"""`auscult status` asks database and broker themselves: who is late is well, who says nothing is away."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from sqlalchemy import make_url

from tests.support.black_hole import Link
from tests.support.database import migrated_copy
from tests.support.sites import LOCAL, new_site

pytestmark = pytest.mark.integration

#: Longer than a command waited before, which a busy machine is now and then.
LATE_S = 1.2


def place(url: str) -> tuple[str, int] | str:
    """Where a server of the tests listens: host and port, or the path of a unix socket."""
    found = make_url(url)
    if found.get_backend_name() == "postgresql":
        folder, port = found.query.get("host"), found.port or 5432
        return f"{folder}/.s.PGSQL.{port}" if folder else (found.host or LOCAL, port)
    return (
        url.removeprefix("redis+socket://")
        if "socket" in found.drivername
        else (found.host or LOCAL, found.port or 6379)
    )


def test_a_database_and_a_broker_that_are_late_are_not_away(request, redis_url, tmp_path):
    with ExitStack() as stack:
        url = stack.enter_context(migrated_copy(request, "postgresql", tmp_path / "unused.db"))
        database, broker = (stack.enter_context(Link(place(each), LATE_S).running()) for each in (url, redis_url))
        late = make_url(url).difference_update_query(["host"]).set(host=LOCAL, port=database.port)
        site = stack.enter_context(
            new_site(
                database_url=late.render_as_string(hide_password=False),
                broker_url=f"redis://{LOCAL}:{broker.port}/0",
            )
        )
        found = site.json("status", check=1)
    assert found["broker"] == "answers"
    assert found["database"] != "away"
    assert [row["probe"] for row in found["probes"] if row["level"] == "FAIL"] == []


def test_it_names_what_is_away_though_both_only_keep_it_waiting():
    with socket.create_server((LOCAL, 0)) as silent:
        port = silent.getsockname()[1]
        with new_site(
            database_url=f"postgresql://u:hidden@{LOCAL}:{port}/site",
            broker_url=f"redis://:hidden@{LOCAL}:{port}/0",
        ) as site:
            done = site.run("status", "--json", check=3)
    assert '"database": "away"' in done.stdout
    assert '"broker": "away"' in done.stdout
    assert f"the PostgreSQL database site at {LOCAL}:{port} has not answered within 4 seconds" in done.stdout
    assert "hidden" not in done.stdout + done.stderr
