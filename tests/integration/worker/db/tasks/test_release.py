"""The claims of ended processes: put back at once, counted where the film is to blame, and nobody else's are touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.reasons import Reason
from tests.support.claimants import claimant, killed
from tests.support.database import BOTH, MAX_ATTEMPTS, fresh_site, scored
from worker.db.tasks import release
from worker.db.tasks.workers import WorkerBeat, heartbeat
from worker.presence import note_timeout
from worker.queue.departed import ReleaseOptions, release_departed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

COLUMNS = "state, attempts, interruptions, error_code, lease_owner"


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def tasks(site: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in site.rows(f"SELECT {COLUMNS} FROM task ORDER BY id")]


def take_back(site: Any, owner: str, at_work: int, *, max_attempts: int = MAX_ATTEMPTS) -> int:
    bounds = {"backoff_ms": 0, "max_attempts": max_attempts}
    return release.give_up(site.sessions, owner, Reason.TIMED_OUT, at_work=at_work, **bounds)


def test_what_a_process_that_was_ended_had_claimed_is_given_up_and_nothing_else(site):
    entries = [site.receive(f"1.{number}", f"1.{number}.1") for number in range(4)]
    held, other, _, done = (entry.task_id for entry in entries)
    claim = site.claimed(held, owner="host:7:ab")
    site.claimed(other, owner="host:77:ab")
    site.finish(done, scored(0.1))
    assert take_back(site, "host:7:ab", held) == 1
    assert tasks(site) == [
        ("PENDING", 1, 0, "TIMED_OUT", None),
        ("CLAIMED", 1, 0, None, "host:77:ab"),
        ("PENDING", 0, 0, None, None),
        ("DONE", 1, 0, None, None),
    ]
    # what it comes to in its last moments is worth nothing
    assert not site.ended(claim, scored(0.1))


def test_the_last_attempt_that_is_given_up_ends_the_task_with_the_reason(site):
    entry = site.receive()
    site.claimed(entry.task_id, owner="host:7:ab")
    assert take_back(site, "host:7:ab", entry.task_id, max_attempts=1) == 1
    site.settle()
    assert (site.entry()["ai_status"], site.entry()["reason"]) == ("FAILED", "TIMED_OUT")


def test_of_the_films_that_a_process_had_claimed_only_the_one_in_work_has_used_an_attempt(site):
    held = [site.receive(f"1.{number}", f"1.{number}.1").task_id for number in range(4)]
    for task_id in held:
        site.claimed(task_id, owner="host:7:ab")
    assert take_back(site, "host:7:ab", held[2]) == 4
    excused = ("PENDING", 0, 1, "WORKER_LOST", None)
    assert tasks(site) == [excused, excused, ("PENDING", 1, 0, "TIMED_OUT", None), excused]
    assert site.due() == held


def test_an_interrupted_attempt_is_not_counted_but_for_so_many_times_only(site):
    entry = site.receive()
    seen = []
    while (claim := site.claim(entry.task_id, owner="host:7:ab")) is not None:
        assert release.interrupt(site.sessions, "host:7:ab", MAX_ATTEMPTS) == 1
        seen.append(tasks(site)[0][:3])
        assert not site.ended(claim, scored(0.1))
    assert seen == [("PENDING", 0, number) for number in (1, 2, 3)] + [("PENDING", number, 3) for number in (1, 2, 3)]
    assert site.bury() == 1
    assert (site.entry()["ai_status"], site.entry()["reason"]) == ("FAILED", "WORKER_LOST")


def test_an_interrupted_film_is_due_at_once(site):
    entry = site.receive()
    site.claimed(entry.task_id, owner="host:7:ab")
    release.interrupt(site.sessions, "host:7:ab", MAX_ATTEMPTS)
    assert site.due() == [entry.task_id]


def test_of_two_machines_at_one_database_the_claims_of_the_living_one_stay(site, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    names = ["host:1:dead", "host:2:lives", "host:3:elsewhere"]
    for number, owner in enumerate(names):
        entry = site.receive(f"1.{number}", f"1.{number}.1")
        beat(site, owner)
        site.claimed(entry.task_id, owner=owner)
    killed(here, names[0])
    killed(there, names[2])
    with claimant(here, names[1]):
        assert release_departed(site.sessions, ReleaseOptions(here, 0, MAX_ATTEMPTS)) == 1
        assert release_departed(site.sessions, ReleaseOptions(here, 0, MAX_ATTEMPTS)) == 0
    assert tasks(site) == [
        ("PENDING", 0, 1, "WORKER_LOST", None),
        ("CLAIMED", 1, 0, None, names[1]),
        ("CLAIMED", 1, 0, None, names[2]),
    ]
    # Whoever counts living workers must not wait for the dead one.
    assert [row["name"] for row in site.rows("SELECT name FROM worker ORDER BY name")] == names[1:]


def test_a_film_whose_worker_died_alone_has_used_an_attempt_and_one_that_hung_says_so(site, tmp_path: Path):
    owners = ["host:1:crashed", "host:2:hung"]
    for number, owner in enumerate(owners):
        for film in range(2):
            site.claimed(site.receive(f"1.{number}", f"1.{number}.{film}").task_id, owner=owner)
    with claimant(tmp_path) as (_, parent):
        for number, owner in enumerate(owners):
            killed(tmp_path, owner, parent, at_work=2 * number + 1)
        note_timeout(tmp_path, "host:2:")
        assert release_departed(site.sessions, ReleaseOptions(tmp_path, 0, MAX_ATTEMPTS), parent) == 4
    excused = ("PENDING", 0, 1, "WORKER_LOST")
    ended = [("PENDING", 1, 0, "WORKER_LOST"), ("PENDING", 1, 0, "TIMED_OUT")]
    assert [row[:4] for row in tasks(site)] == [ended[0], excused, ended[1], excused]


def beat(site: Any, name: str) -> None:
    heartbeat(site.sessions, WorkerBeat(name, "host", 1, "celery", "", "litert", None, 0))
