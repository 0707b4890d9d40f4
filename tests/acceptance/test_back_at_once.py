"""After SIGKILL of everything and a start every study ends, without waiting for a lease or a repeated hint.

Leases and graces of an hour: a film that waited for one of them would not end within the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sites import new_site
from tests.support.studies import chest_film, push, slow_film
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tests.support.postgres import ExternalPostgres, PostgresServer
    from tests.support.running import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

HOUR = "3600"
PATIENT = {"lease_s": HOUR}
FILMS = 4


def claimed(site: Site) -> list[Mapping[str, Any]]:
    return site.query("SELECT id, lease_owner FROM task WHERE state = 'CLAIMED'")


def check_back_at_once(site: Site) -> None:
    with site.running("up", log="first.log") as up:
        push([slow_film(), *(chest_film(number / FILMS) for number in range(FILMS))], up.port)
        wait_until(lambda: claimed(site), 120, "a worker in the middle of a film")
        up.kill()
    held = claimed(site)
    with site.running("up", log="second.log"):
        rows = site.wait_terminal(1 + FILMS)
    assert len(rows) == 1 + FILMS
    assert all(row["ai_status"] == "FINAL" for row in rows.values())
    tasks = {row["id"]: row for row in site.query("SELECT * FROM task")}
    assert [task["state"] for task in tasks.values()] == ["DONE"] * (1 + FILMS)
    for row in held:
        # It was claimed a second time, which only a released lease allows within the hour; the first is not counted.
        task = tasks[row["id"]]
        assert (task["attempts"], task["interruptions"], task["lease_token"]) == (1, 1, 2)
    assert site.query("SELECT 1 FROM result GROUP BY task_id HAVING count(*) <> 1") == []


def test_on_the_embedded_database_every_study_ends_after_everything_was_killed() -> None:
    with new_site(**PATIENT) as site:
        check_back_at_once(site)


def test_on_postgresql_every_study_ends_after_everything_was_killed(
    postgres_server: PostgresServer | ExternalPostgres,
) -> None:
    url = postgres_server.create_database()
    with new_site(database_url=url, **PATIENT) as site:
        site.run("migrate")
        check_back_at_once(site)
    postgres_server.drop_database(url)
