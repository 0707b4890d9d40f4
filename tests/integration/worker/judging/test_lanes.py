"""Which films a worker takes, how many at once and in which order: none waits without end, and what is not begun goes back."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from dicom_io.reasons import Outcome
from tests.support.database import BOTH, MAX_ATTEMPTS, fresh_site, scored
from tests.support.judging import context_of
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.tasks.claims import Claimant, claim_due
from worker.db.tasks.due import Lane
from worker.judging import lanes as worker_lanes
from worker.judging.lanes import LIVE_AT_ONCE, Lanes
from worker.judging.take_size import MOST, TAKE_S, TakeSize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from worker.db.tasks.claims import Claim
    from worker.judging.pipeline import WorkerContext

pytestmark = pytest.mark.integration


@dataclass
class Bench:
    """A worker whose films take as long as the test says: each is recorded with a score, in order."""

    site: Any
    context: WorkerContext
    #: Seconds that each film takes.
    film_s: float = 0.001
    #: Called after each film with its task.
    after: Callable[[int], object] = lambda _: None
    done: list[int] = field(default_factory=list)
    takes: list[list[int]] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.lanes = Lanes(self.context, self.clock)

    def clock(self) -> float:
        return self.now

    def score(self, context: WorkerContext, held: Sequence[Claim], goes_on: Callable[[], bool]) -> dict[int, Any]:
        """Takes the place of the pipeline's work on films; what is not begun is put back by the real function."""
        from worker.db.tasks import claims

        begun: list[Claim] = []
        for claim in held:
            if begun and not goes_on():
                break
            begun.append(claim)
            self.now += self.film_s
            self.after(claim.task_id)
        claims.finish(context.sessions, [(claim, scored(0.1)) for claim in begun])
        if left := held[len(begun) :]:
            claims.leave(context.sessions, left)
        self.takes.append([claim.task_id for claim in begun])
        self.done += self.takes[-1]
        return {claim.task_id: Outcome.OK for claim in begun}

    def work(self, budget_s: float = 60.0) -> list[int]:
        """The films that are done for one message."""
        before = len(self.done)
        self.lanes.work(budget_s)
        return self.done[before:]


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def bench(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(site, context_of(site, tmp_path))
    monkeypatch.setattr(worker_lanes, "score_claims", bench.score)
    return bench


@pytest.fixture
def batch(site: Any) -> list[int]:
    """The tasks of a re-run of four films."""
    for number in range(4):
        entry = site.receive(f"1.{number}", f"1.{number}.1")
        site.finish(entry.task_id, scored(0.1))
    site.settle()
    with site.sessions.begin() as session:
        reruns.open_batch(
            session, selector=Selector(all=True), model_id=site.model_id, who="ada", why="", keep_current=False
        )
    return list(site.due(Lane.RERUN))


def live(site: Any, number: int) -> int:
    task_id = site.receive(f"2.{number}", f"2.{number}.1").task_id
    assert task_id is not None
    return int(task_id)


def urgent(site: Any, number: int) -> int:
    task_id = live(site, number)
    site.change(f"UPDATE task SET priority = -1 WHERE id = {task_id}")
    return task_id


def once(work: Callable[[], object]) -> Callable[[int], object]:
    """Calls `work` after the first film."""
    left = [work]
    return lambda _: left.pop()() if left else None


def test_a_film_that_waits_alone_is_a_take_by_itself(site, bench):
    for number in range(4):
        live(site, number)
        bench.work()
    assert [len(take) for take in bench.takes] == [1, 1, 1, 1]


def test_takes_grow_while_films_wait_and_never_hold_more_than_half_of_them(site, bench):
    films = [live(site, number) for number in range(24)]
    assert sorted(bench.work()) == films
    assert [len(take) for take in bench.takes] == [1, 2, 4, 8, 5, 2, 1, 1]


@pytest.mark.parametrize(("film_s", "most"), [(0.001, MOST), (0.1, 2), (0.5, 1), (30.0, 1)])
def test_a_take_holds_about_as_many_films_as_fit_into_its_time(film_s, most):
    size = TakeSize()
    for _ in range(10):
        size.took(size.films, film_s * size.films)
    assert size.films == most
    size.took(0, 0.0)
    assert size.films == most


def test_a_take_that_lasts_too_long_ends_with_the_film_in_work_and_the_rest_goes_back_uncharged(site, bench):
    films = [live(site, number) for number in range(8)]
    bench.work(budget_s=0.006)
    assert [len(take) for take in bench.takes] == [1, 2, 3][: len(bench.takes)]
    bench.film_s = TAKE_S
    bench.takes.clear()
    bench.lanes._size.films = 4
    left = [task for task in films if task not in bench.done]
    assert bench.lanes._take() == 1
    rows = site.rows("SELECT state, attempts, lease_owner FROM task WHERE state <> 'DONE'")
    assert len(rows) == len(left) - 1
    assert all(tuple(row.values()) == ("PENDING", 0, None) for row in rows)


def claimed_lanes(monkeypatch: pytest.MonkeyPatch) -> list[Lane]:
    """The lanes of all claims from now on."""
    asked: list[Lane] = []

    def noted(sessions: Any, lane: Lane, claimant: Claimant, **films: int) -> list[Claim]:
        asked.append(lane)
        return claim_due(sessions, lane, claimant, **films)

    monkeypatch.setattr(worker_lanes, "claim_due", noted)
    return asked


def test_a_lane_without_work_is_not_claimed_from(site, bench, monkeypatch):
    """A claim takes SQLite's write lock, also where it finds nothing."""
    asked = claimed_lanes(monkeypatch)
    assert not bench.work()
    assert not asked
    films = [live(site, number) for number in range(4)]
    assert sorted(bench.work()) == films
    assert asked == [Lane.LIVE] * len(bench.takes)


def test_without_a_re_run_takes_of_live_films_are_not_cut_at_its_turn(site, bench):
    bench.lanes._size.films = MOST
    for number in range(4 * LIVE_AT_ONCE):
        live(site, number)
    bench.work()
    assert len(bench.takes[0]) == MOST > LIVE_AT_ONCE


def test_a_live_film_that_comes_while_a_re_run_works_is_next(site, bench, batch):
    fresh: list[int] = []
    bench.after = once(lambda: fresh.append(live(site, 1)))
    assert bench.work() == [batch[0], *fresh, *batch[1:]]
    assert all(row["attempts"] == 1 for row in site.rows("SELECT attempts FROM task"))


def test_live_films_go_before_the_first_film_of_a_re_run_too(site, bench, batch):
    fresh = live(site, 1)
    assert bench.work() == [fresh, *batch]


def test_a_stream_of_live_films_does_not_stop_a_re_run(site, bench, batch):
    waiting = [live(site, number) for number in range(2 * LIVE_AT_ONCE + 3)]
    done = bench.work()
    first, second = (done.index(task_id) for task_id in batch[:2])
    assert (first, second) == (LIVE_AT_ONCE, 2 * LIVE_AT_ONCE + 1)
    assert sorted(done) == sorted([*waiting, *batch])


def test_neither_urgent_nor_old_films_stop_the_others(site, bench):
    old = [live(site, number) for number in range(6)]
    new = [urgent(site, 100 + number) for number in range(6)]
    bench.film_s = TAKE_S
    assert bench.work(120.0) == [task_id for pair in zip(new, old, strict=True) for task_id in pair]


def test_a_re_run_goes_before_the_shadow(site, bench):
    second = site.add_model("2")
    from worker.db.models.bundles import Order
    from worker.db.tasks import shadow

    with site.sessions.begin() as session:
        shadow.start_shadow(session, second, Order("ada", ""))
    entries = [site.receive(f"1.{number}", f"1.{number}.1") for number in range(3)]
    with site.sessions.begin() as session:
        reruns.open_batch(session, selector=Selector(all=True), model_id=second, who="bob", why="", keep_current=False)
    rerun = site.due(Lane.RERUN)
    lives, shadows = [entry.task_id for entry in entries], [entry.shadow_task_id for entry in entries]
    assert bench.work() == [*lives, *rerun, *shadows]


def test_a_message_ends_when_its_time_is_over_and_the_rest_waits_in_sql(site, bench):
    films = [live(site, number) for number in range(6)]
    bench.film_s = TAKE_S
    assert bench.work(budget_s=2.5 * TAKE_S) == films[:3]
    assert site.due() == films[3:]


def test_claims_side_by_side_take_each_film_once(site):
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    films = [live(site, number) for number in range(24)]
    start = Barrier(4)

    def take(number: int) -> list[int]:
        me, taken = Claimant(f"worker {number}", 60_000, MAX_ATTEMPTS), []
        start.wait(30)
        while held := claim_due(site.sessions, Lane.LIVE, me, urgent=2, oldest=1):
            taken += [claim.task_id for claim in held]
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [task_id for tasks in pool.map(take, range(4)) for task_id in tasks]
    assert sorted(taken) == films


def test_recording_many_films_takes_as_many_statements_as_recording_one(site):
    from worker.db.tasks import claims

    def statements_for(number: int) -> int:
        films = [live(site, 1000 * number + one) for one in range(number)]
        held = claims.claim(site.sessions, films, Claimant("me", 60_000, MAX_ATTEMPTS))
        seen: list[str] = []

        def note(_connection, _cursor, statement, *_):
            seen.append(statement)

        event.listen(site.engine, "before_cursor_execute", note)
        assert claims.finish(site.sessions, [(claim, scored(0.1)) for claim in held]) == set(films)
        event.remove(site.engine, "before_cursor_execute", note)
        return len(seen)

    one = statements_for(1)
    assert statements_for(12) == one


def queue(site: Any, number: int, priority: int) -> int:
    """A further live task of an image, without the rest of its registration."""
    columns = "kind, image_id, model_id, revision, attempts, not_before_ms, lease_token, hint_count, created_at"
    return int(
        site.added(
            f"INSERT INTO task ({columns}, idem_key, state, priority) SELECT {columns}, 'k{number}', 'PENDING', {priority} "
            "FROM task WHERE batch_id IS NULL ORDER BY id LIMIT 1 RETURNING id"
        )
    )


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("seed", range(3))
def test_no_film_waits_for_more_than_a_known_number_of_others(site, bench, seed):
    """Urgent films come without end, messages end early, a re-run goes on: what waits depends on what is older alone."""
    rng, waiting = random.Random(seed), Waiting()
    site.change("UPDATE task SET attempts = 0 WHERE batch_id IS NULL")
    for number in range(40):
        waiting.add(queue(site, number, rng.choice((-1, -1, 0, 50))))
        bench.film_s = rng.choice((0.001, 0.1, 1.0))
        if rng.random() < 0.6:
            waiting.judge(bench.work(rng.choice((0.002, 0.3, 2.0))))
    waiting.judge(bench.work(1000.0))
    assert not waiting.films


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
            assert judged <= 2 * LIVE_AT_ONCE + 4 * (older + 1)
