"""What a worker says of itself with each heartbeat: whether it works, also where the moment is one between two films."""

from __future__ import annotations

import pytest

from tests.support.database import BOTH, fresh_site
from worker.database import connect
from worker.judging.task_worker import TaskWorker
from worker.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def worker(site, tmp_path):
    settings = load_settings(home=tmp_path / "home", database_url=site.url)
    made = TaskWorker(settings, connect(settings), "celery")
    yield made
    made.stop()


def told(site) -> dict[str, int | None]:
    (row,) = site.rows("SELECT task_id, tasks_done FROM worker")
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
