"""Which films are done for a message, and in which order: none waits without end, and what takes too long goes back to SQL."""

from __future__ import annotations

import random
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


def order_of(site: Any, task_ids: list[int]) -> list[int]:
    """The films that are done for a message, each of them judged before the next one is asked for."""
    done = []
    for task_id in in_order(site.sessions, task_ids, budget_s=60):
        site.finish(task_id, scored(0.1))
        done.append(task_id)
    return done


def urgent(site: Any, number: int) -> int:
    task_id = live(site, number)
    site.change(f"UPDATE task SET priority = -1 WHERE id = {task_id}")
    return task_id


def test_a_live_film_that_comes_while_a_re_run_works_is_next(site, batch):
    work = in_order(site.sessions, batch, budget_s=60)
    assert next(work) == batch[0]
    fresh = live(site, 1)
    assert next(work) == fresh
    site.finish(fresh, scored(0.1))
    assert list(work) == batch[1:]


def test_live_films_go_before_the_first_film_of_a_re_run_too(site, batch):
    fresh = live(site, 1)
    assert order_of(site, batch) == [fresh, *batch]


def test_a_stream_of_live_films_does_not_stop_a_re_run(site, batch):
    waiting = [live(site, number) for number in range(LIVE_AT_ONCE + 3)]
    assert order_of(site, batch)[: LIVE_AT_ONCE + 1] == [*waiting[:LIVE_AT_ONCE], batch[0]]


def test_urgent_films_do_not_stop_the_oldest_ones_between_films_of_a_re_run(site, batch):
    old = [live(site, number) for number in range(LIVE_AT_ONCE)]
    new = [urgent(site, 100 + number) for number in range(LIVE_AT_ONCE)]
    half = LIVE_AT_ONCE // 2
    assert order_of(site, batch)[: LIVE_AT_ONCE + 1] == [*new[:half], *old[:half], batch[0]]


def test_what_does_not_fit_into_the_time_of_a_message_is_due_for_a_hint_at_once(site, batch):
    assert hinted(site) == batch
    clock: Iterator[float] = iter((0.0, 40.0, 151.0))
    work = in_order(site.sessions, batch, budget_s=150, clock=lambda: next(clock))
    assert list(work) == batch[:2]
    assert hinted(site) == batch[:2]
    with site.sessions.begin() as session:
        assert due_tasks(session, limit=64, lane=Lane.RERUN) == batch[2:]


def test_one_more_urgent_film_goes_before_the_one_that_a_message_names(site):
    routine, first, second = live(site, 1), urgent(site, 2), urgent(site, 3)
    assert order_of(site, [routine]) == [first, routine]
    assert order_of(site, [second]) == [second]


def test_the_oldest_film_needs_no_message_of_its_own(site):
    forgotten, named, later = (live(site, number) for number in range(3))
    assert order_of(site, [named]) == [forgotten, named]
    assert order_of(site, [later]) == [later]


def test_a_message_whose_film_was_done_before_its_turn_is_over(site):
    done, _ = live(site, 1), urgent(site, 2)
    site.finish(done, scored(0.1))
    assert order_of(site, [done]) == []


def queue(site: Any, number: int, priority: int) -> int:
    """A further live task of an image, without the rest of its registration."""
    columns = "kind, image_id, model_id, revision, attempts, not_before_ms, lease_token, hint_count, created_at"
    return int(
        site.added(
            f"INSERT INTO task ({columns}, idem_key, state, priority) SELECT {columns}, 'k{number}', 'PENDING', {priority} "
            "FROM task ORDER BY id LIMIT 1 RETURNING id"
        )
    )


def judged(site: Any, task_ids: list[int]) -> list[int]:
    done = []
    for task_id in in_order(site.sessions, task_ids, budget_s=60):
        site.change(f"UPDATE task SET state = 'DONE' WHERE id = {task_id}")
        done.append(task_id)
    return done


@pytest.mark.parametrize("seed", range(3))
def test_no_film_waits_for_more_than_a_known_number_of_others(site, batch, seed):
    """Urgent films come without end, hints are lost, a re-run goes on: a film with N older ones waits for N + 1 rounds."""
    rng, waiting, messages = random.Random(seed), Waiting(), [batch]
    for number in range(40):
        waiting.add(queue(site, number, rng.choice((-1, -1, 0, 50))))
        if rng.random() < 0.5:
            with site.sessions.begin() as session:
                messages += [[task_id] for task_id in due_tasks(session, limit=rng.choice((1, 5)), lane=Lane.LIVE)]
        if messages and rng.random() < 0.2:
            messages.pop(rng.randrange(len(messages)))
        if messages and rng.random() < 0.6:
            waiting.judge(judged(site, messages.pop(0)))
    while waiting.films:
        site.age_hints(600_000)
        with site.sessions.begin() as session:
            (oldest,) = due_tasks(session, limit=1, lane=Lane.LIVE)
        waiting.judge(judged(site, [oldest]))


class Waiting:
    """The live films that wait: how many older ones waited when each came, and how many films were judged since."""

    def __init__(self) -> None:
        self.films: dict[int, list[int]] = {}

    def add(self, task_id: int) -> None:
        self.films[task_id] = [len(self.films), 0]

    def judge(self, done: list[int]) -> None:
        for task_id in done:
            for counts in self.films.values():
                counts[1] += 1
            older, judged = self.films.pop(task_id, (0, 0))
            assert judged <= (older + 1) * (LIVE_AT_ONCE + 1)
