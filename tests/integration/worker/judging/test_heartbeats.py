"""What a worker says of itself: whether it works, also between two films, and whether its disks are there."""

from __future__ import annotations

import pytest

from tests.support.database import BOTH, fresh_site
from tests.support.waiting import wait_until
from worker.database import connect
from worker.judging.task_worker import TaskWorker
from worker.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def worker(site, tmp_path):
    settings = load_settings(home=tmp_path / "home", database_url=site.url, store_dir=tmp_path)
    made = TaskWorker(settings, connect(settings), "celery")
    yield made
    made.stop()


def told(site) -> dict[str, int | None]:
    row: dict[str, int | None] = site.rows("SELECT task_id, tasks_done FROM worker")[0]
    return row


def test_a_worker_that_has_done_films_since_the_heartbeat_before_is_not_idle(site, worker):
    tasks = [site.receive(f"1.{number}", f"1.{number}.1").task_id for number in (1, 2)]
    worker.heartbeat.turn()
    assert told(site) == {"task_id": None, "tasks_done": 0}
    for task in tasks:
        worker.context.at_work(task)
        worker.context.at_work(0)
    worker.heartbeat.turn()
    assert told(site) == {"task_id": tasks[-1], "tasks_done": 2}
    worker.heartbeat.turn()
    assert told(site) == {"task_id": None, "tasks_done": 2}


def test_a_worker_in_the_middle_of_a_film_names_it(site, worker):
    task = site.receive("1.1", "1.1.1").task_id
    worker.context.at_work(task)
    worker.heartbeat.turn()
    worker.heartbeat.turn()
    assert told(site) == {"task_id": task, "tasks_done": 0}


def disks(site) -> dict[str, str]:
    """The levels of a worker's disks."""
    rows = site.rows("SELECT probe, level FROM probe WHERE probe LIKE '%_DISK'")
    return {row["probe"]: row["level"] for row in rows}


def test_folders_that_no_listener_has_made_yet_are_not_away(site, worker):
    worker.start()
    assert wait_until(lambda: disks(site), 60, "the worker's findings") == {"STORE_DISK": "OK", "FILMS_DISK": "OK"}


def test_folders_that_held_something_are_away_where_they_are_missing(site, worker):
    site.receive("1.1", "1.1.1")
    worker.start()
    assert wait_until(lambda: disks(site), 60, "the worker's findings") == {"STORE_DISK": "FAIL", "FILMS_DISK": "FAIL"}
