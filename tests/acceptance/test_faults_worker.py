"""A worker that is killed or stopped in the middle of a film never costs a film or a second result."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy.exc import OperationalError

from tests.support.running import Site, role
from tests.support.studies import push, slow_film
from tests.support.waiting import wait_until
from worker.db.schema.types import NOW_MS
from worker.presence import task_at_work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

LEASE_S = 3
MAX_ATTEMPTS = 2
SETTINGS = {"AUSCULT_LEASE_S": str(LEASE_S), "AUSCULT_MAX_ATTEMPTS": str(MAX_ATTEMPTS)}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Site, int]]:
    """Auscult with two workers on the embedded database, and the port of its listener."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-kill-", dir="/tmp"))
    site = Site(folder / "home", dict(SETTINGS))
    with site.running("up", "--processes", "2") as up:
        yield site, up.port
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Held:
    """A task that is claimed, its lease ahead, and the worker's child that stands still with it."""

    task_id: int
    owner: str
    pid: int
    attempts: int
    lease_left_ms: int


def is_writable(site: Site) -> bool:
    """Whether no stopped process holds a lock of the database.

    A worker that is stopped while it renews its lease or reports its health is inside a transaction. That is the lock
    of the whole database: nobody could write until the worker goes on, which is not what these tests look at.
    """
    try:
        site.execute("PRAGMA busy_timeout = 1000", "BEGIN IMMEDIATE")
    except OperationalError:
        return False
    return True


def hold_claim(site: Site, attempt: int) -> Held:
    """Stop a worker's child (SIGSTOP) in the middle of the given attempt; the lease must be ahead once it stands."""
    claimed = (
        f"SELECT id, lease_owner, attempts, lease_until_ms - {NOW_MS['sqlite']} AS lease_left_ms FROM task "
        "WHERE state = 'CLAIMED' AND attempts = :attempt"
    )

    def caught() -> Held | None:
        for row in site.query(claimed, attempt=attempt):
            pid = int(row["lease_owner"].split(":")[1])
            os.kill(pid, signal.SIGSTOP)
            if is_writable(site):
                for now_held in site.query(claimed, attempt=attempt):
                    owner, left = now_held["lease_owner"], now_held["lease_left_ms"]
                    # A film that was claimed and not begun costs no attempt.
                    is_begun = task_at_work(site.home, owner) == row["id"]
                    if owner == row["lease_owner"] and left > 0 and is_begun:
                        return Held(row["id"], owner, pid, now_held["attempts"], left)
            os.kill(pid, signal.SIGCONT)
        return None

    return wait_until(caught, 60, f"a worker in the middle of attempt {attempt}")


def kill_child(held: Held) -> None:
    os.kill(held.pid, signal.SIGKILL)


def kill_worker(held: Held) -> None:
    """The whole worker: Celery's main process and its child."""
    main = psutil.Process(held.pid).parent()
    assert main is not None
    assert role(main) == "work", main.cmdline()
    for process in (main, *main.children(recursive=True)):
        process.kill()


def task_of(site: Site, study_uid: str) -> Mapping[str, Any]:
    (task,) = site.query(
        "SELECT task.* FROM task JOIN image ON image.id = task.image_id JOIN study ON study.id = image.study_id "
        "WHERE study_uid = :uid",
        uid=study_uid,
    )
    return task


def results_of(site: Site, study_uid: str) -> list[Mapping[str, Any]]:
    return site.query("SELECT * FROM result_history WHERE study_uid = :uid", uid=study_uid)


def ended(site: Site, study_uid: str) -> Mapping[str, Any]:
    """The study's row of the worklist, once it is terminal."""

    def row() -> Mapping[str, Any] | None:
        found = site.worklist()[study_uid]
        return found if found["ai_status"] in ("FINAL", "NOT_APPLICABLE", "FAILED") else None

    return wait_until(row, 90, "the study to end")


def check_one_result(found: tuple[Site, int], kill: Callable[[Held], None], *, attempts: int) -> None:
    """The film is claimed twice; its first attempt counts or was an interruption."""
    site, port = found
    film = slow_film()
    push([film], port)
    held = hold_claim(site, attempt=1)
    assert 0 < held.lease_left_ms <= LEASE_S * 1000
    kill(held)
    assert ended(site, film.StudyInstanceUID)["ai_status"] == "FINAL"
    task = task_of(site, film.StudyInstanceUID)
    counted = (task["state"], task["attempts"], task["interruptions"], task["lease_token"])
    assert counted == ("DONE", attempts, 2 - attempts, 2)
    (result,) = results_of(site, film.StudyInstanceUID)
    assert (result["outcome"], bool(result["is_current"]), result["attempts"]) == ("OK", True, attempts)


def test_a_workers_child_killed_in_a_film_costs_one_attempt_and_leaves_one_result(served: tuple[Site, int]) -> None:
    check_one_result(served, kill_child, attempts=2)


def test_a_whole_worker_killed_in_a_film_costs_no_attempt_and_leaves_one_result(
    served: tuple[Site, int],
) -> None:
    check_one_result(served, kill_worker, attempts=1)


def test_a_film_whose_worker_dies_at_each_attempt_ends_failed_and_never_normal(served: tuple[Site, int]) -> None:
    site, port = served
    film = slow_film()
    push([film], port)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        kill_child(hold_claim(site, attempt))
    row = ended(site, film.StudyInstanceUID)
    assert (row["ai_status"], row["label"], row["probability"], row["reason"]) == ("FAILED", None, None, "WORKER_LOST")
    task = task_of(site, film.StudyInstanceUID)
    assert (task["state"], task["attempts"]) == ("FAILED", MAX_ATTEMPTS)
    (result,) = results_of(site, film.StudyInstanceUID)
    assert (result["outcome"], result["reason"], result["label"]) == ("FAILED", "WORKER_LOST", None)


def test_a_worker_that_stood_still_beyond_its_lease_writes_nothing_when_it_goes_on(served: tuple[Site, int]) -> None:
    site, port = served
    film = slow_film()
    push([film], port)
    held = hold_claim(site, attempt=1)
    before = tasks_done(site, held)
    try:
        ended(site, film.StudyInstanceUID)
        (result,) = results_of(site, film.StudyInstanceUID)
        assert (result["outcome"], result["attempts"]) == ("OK", 2)
    finally:
        os.kill(held.pid, signal.SIGCONT)
    wait_until(lambda: tasks_done(site, held) > before, 60, "the worker that stood still to end its attempt")
    assert results_of(site, film.StudyInstanceUID) == [result]
    task = task_of(site, film.StudyInstanceUID)
    assert (task["state"], task["attempts"]) == ("DONE", 2)


def tasks_done(site: Site, held: Held) -> int:
    """How many tasks this worker says it has ended."""
    return sum(
        row["tasks_done"] for row in site.query("SELECT tasks_done FROM worker WHERE name = :name", name=held.owner)
    )
