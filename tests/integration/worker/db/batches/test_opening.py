"""A re-run gets its tasks in parts: it may be killed anywhere and goes on, each film is in it once, and it ends only with all."""

from __future__ import annotations

import os
import signal
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.database import BOTH, fresh_site, scored
from worker.db.batches import opening, reruns
from worker.db.batches.selection import Selector
from worker.db.read import queries
from worker.db.schema.engine import in_transaction
from worker.queue.dispatcher import Dispatcher, DispatchOptions
from worker.queue.hints import HintPublisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration

STUDIES = 7
PART = 2


@pytest.fixture(params=BOTH)
def site(request, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "STEP", PART)
    for site in fresh_site(request, tmp_path):
        for number in range(STUDIES):
            site.finish(site.receive(f"1.{number}", f"1.{number}.1").task_id, scored(0.1 if number % 2 else 0.9))
        yield site


@pytest.fixture
def publisher(redis_url: str) -> Iterator[HintPublisher]:
    publisher = HintPublisher(redis_url)
    yield publisher
    publisher.close()


def order(site, selector: Selector | None = None) -> int:
    with site.sessions.begin() as session:
        return reruns.open_batch(
            session,
            selector=selector or Selector(all=True),
            model_id=site.model_id,
            who="ada",
            why="newer",
            keep_current=False,
        ).batch_id


def go_on(site, batch_id: int) -> opening.Opening | None:
    return in_transaction(site.sessions, lambda session: opening.go_on(session, batch_id))


def go_on_to_the_end(site, batch_id: int) -> None:
    while go_on(site, batch_id):
        pass


def films(site) -> list[str]:
    """The films of all re-runs, as often as they are there."""
    rows = site.rows(
        "SELECT image.sop_uid FROM task JOIN image ON image.id = task.image_id WHERE batch_id IS NOT NULL ORDER BY task.id"
    )
    return [row["sop_uid"] for row in rows]


def named(site) -> list[str]:
    """The studies that the trail names for orders of re-runs."""
    rows = site.rows("SELECT study_uid FROM audit_objects WHERE act = 'RERUN_ORDERED' ORDER BY study_uid")
    return [row["study_uid"] for row in rows]


def state(site, batch_id: int) -> tuple[str, int]:
    with site.sessions() as session:
        row = queries.batch(session, batch_id)
    assert row is not None
    return row["state"], row["n_tasks"]


def close(site, batch_id: int) -> bool:
    with site.sessions.begin() as session:
        return reruns.close_batch_if_done(session, batch_id)


ALL = [f"1.{number}.1" for number in range(STUDIES)]


def test_a_rerun_of_everything_takes_a_part_at_a_time(site):
    batch_id = order(site)
    seen = [state(site, batch_id)]
    while go_on(site, batch_id):
        seen.append(state(site, batch_id))
    assert seen == [("OPENING", 2), ("OPENING", 4), ("OPENING", 6), ("OPEN", 7)]
    assert films(site) == ALL
    assert named(site) == [f"1.{number}" for number in range(STUDIES)]


def test_it_does_not_end_before_it_has_all_its_films(site):
    batch_id = order(site)
    work_off(site, batch_id)
    assert not close(site, batch_id)
    site.change("UPDATE batch SET created_at = '2026-01-01 00:00:00+00:00'")
    site.change("UPDATE task SET finished_at = '2026-01-01 00:00:00+00:00'")
    site.settle()
    assert state(site, batch_id) == ("OPENING", PART)
    with pytest.raises(IntegrityError, match="opened_before_closed"):
        site.change("UPDATE batch SET closed_at = created_at")
    go_on_to_the_end(site, batch_id)
    work_off(site, batch_id)
    assert close(site, batch_id)
    assert state(site, batch_id) == ("CLOSED", STUDIES)


def work_off(site, batch_id: int) -> None:
    with site.sessions() as session:
        tasks = reruns.pending_ids(session, batch_id, 100)
    for task_id in tasks:
        site.finish(task_id, scored(0.9))


def test_what_it_changes_meanwhile_does_not_change_which_films_it_takes(site):
    batch_id = order(site, Selector(labels=("NORMAL",)))
    work_off(site, batch_id)
    while go_on(site, batch_id):
        work_off(site, batch_id)
    assert films(site) == ["1.1.1", "1.3.1", "1.5.1"]


def test_a_study_that_comes_after_the_order_is_not_in_it(site):
    batch_id = order(site)
    site.receive("1.99", "1.99.1")
    go_on_to_the_end(site, batch_id)
    assert films(site) == ALL


def test_a_film_that_comes_to_a_later_study_meanwhile_is_taken_once(site):
    batch_id = order(site)
    first, last = (site.value(f"SELECT {which}(id) FROM study") for which in ("min", "max"))
    site.change(f"UPDATE image SET study_id = {last} WHERE study_id = {first}")
    go_on_to_the_end(site, batch_id)
    assert films(site) == ALL


def test_named_studies_and_samples_are_taken_at_once(site):
    for selector in (Selector(study_uids=("1.0", "1.2", "1.6")), Selector(all=True, limit=3)):
        assert state(site, order(site, selector)) == ("OPEN", 3)


@pytest.mark.parametrize(
    "selector",
    [
        Selector(all=True),
        Selector(states=("FINAL",), labels=("NORMAL",), withdrawn=True, scored_by="a-1", suspension=3),
        Selector(
            received_from=datetime(2026, 1, 2, 3, tzinfo=UTC), study_date_to=date(2026, 1, 2), flags=("TIMED_OUT",)
        ),
    ],
)
def test_a_selection_is_read_back_from_its_text(selector):
    assert opening.selector_of(selector.canonical()) == selector


#: What a process does not survive, and the how manieth time.
STEPS: dict[str, tuple[str, int]] = {
    "the first part is written, not committed": ("_note_command", 1),
    "before a part": ("go_on", 2),
    "tasks of a part are written, not committed": ("name_images", 3),
    "a part is written, not committed": ("_note_command", 3),
    "the last part is written, not committed": ("_note_command", 4),
    "all parts are committed": ("go_on", 4),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_command_killed_anywhere_goes_on_when_it_is_given_again(site, step):
    killed(site, lambda: go_on_to_the_end(site, order(site)), *STEPS[step])
    before = films(site)
    assert before == ALL[: len(before)]
    batch_id = order(site)
    go_on_to_the_end(site, batch_id)
    assert films(site) == ALL
    assert state(site, batch_id) == ("OPEN", STUDIES)
    assert named(site) == [f"1.{number}" for number in range(STUDIES)]
    assert site.value("SELECT count(*) FROM batch") == 1


def test_a_dispatcher_goes_on_once_the_command_is_gone(site, publisher):
    killed(site, lambda: go_on_to_the_end(site, order(site)), "go_on", 2)
    dispatcher = Dispatcher(
        site.sessions, publisher, DispatchOptions(tick_s=3600, max_attempts=3, silent_after_ms=10_000)
    )
    dispatcher.turn()
    assert films(site) == ALL[: 2 * PART], "its command may be alive"
    site.change("UPDATE batch SET opening_at_ms = opening_at_ms - 61000")
    dispatcher.repair()
    while dispatcher.turn():
        pass
    assert films(site) == ALL
    assert site.value("SELECT count(DISTINCT who) FROM audit WHERE act = 'RERUN_ORDERED'") == 1


def killed(site, work: Callable[[], object], name: str, time: int) -> None:
    """Do the work in a process that ends by SIGKILL when it calls this function of `opening` for the so manieth time."""
    site.engine.dispose()
    child = os.fork()
    if child == 0:
        try:
            left = [time]
            called = getattr(opening, name)

            def dies(*arguments: object, **named: object) -> object:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                return called(*arguments, **named)

            setattr(opening, name, dies)
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
