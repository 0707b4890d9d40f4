"""Within a message of a re-run live films go first, and what does not fit into the time goes back to SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.database import BOTH, fresh_site, scored
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.tasks.queue import Lane, due_tasks
from worker.judging.lanes import LIVE_AT_ONCE, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def batch(site: Any) -> list[int]:
    """The tasks of a re-run of four films, hinted at in one message."""
    for number in range(4):
        entry = site.receive(f"1.{number}", f"1.{number}.1")
        site.finish(entry.task_id, scored(0.1))
    site.settle()
    with site.sessions.begin() as session:
        reruns.open_batch(
            session, selector=Selector(all=True), model_id=site.model_id, who="ada", why="", keep_current=False
        )
    with site.sessions.begin() as session:
        return due_tasks(session, limit=64, lane=Lane.RERUN)


def live(site: Any, number: int) -> int:
    task_id = site.receive(f"2.{number}", f"2.{number}.1").task_id
    assert task_id is not None
    return int(task_id)


def hinted(site: Any) -> list[int]:
    return [row["id"] for row in site.rows("SELECT id FROM task WHERE hinted_at_ms IS NOT NULL ORDER BY id")]


def test_a_live_film_that_comes_while_a_re_run_works_is_next(site, batch):
    work = in_order(site.sessions, batch, budget_s=60)
    assert next(work) == batch[0]
    urgent = live(site, 1)
    assert next(work) == urgent
    site.finish(urgent, scored(0.1))
    assert list(work) == batch[1:]


def test_a_stream_of_live_films_does_not_stop_a_re_run(site, batch):
    waiting = [live(site, number) for number in range(LIVE_AT_ONCE + 3)]
    work = in_order(site.sessions, batch, budget_s=60)
    assert [next(work) for _ in range(LIVE_AT_ONCE + 2)] == [batch[0], *waiting[:LIVE_AT_ONCE], batch[1]]


def test_what_does_not_fit_into_the_time_of_a_message_is_due_for_a_hint_at_once(site, batch):
    assert hinted(site) == batch
    clock: Iterator[float] = iter((0.0, 40.0, 151.0))
    work = in_order(site.sessions, batch, budget_s=150, clock=lambda: next(clock))
    assert list(work) == batch[:2]
    assert hinted(site) == batch[:2]
    with site.sessions.begin() as session:
        assert due_tasks(session, limit=64, lane=Lane.RERUN) == batch[2:]


def test_a_message_of_one_film_asks_nothing(site):
    assert list(in_order(None, [live(site, 1)], budget_s=0)) == [1]  # type: ignore[arg-type]
