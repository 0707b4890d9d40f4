"""Films that are judged and recorded together: what one of them does harms no other, and a crash charges the one in work."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.film.film import film_of_dicom
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from dicom_io.reasons import Outcome, Reason
from model.labels import Label
from model.serving.classifier import Score
from tests.support.database import BOTH, MAX_ATTEMPTS, fresh_site, refused, scored
from tests.support.films import film, save
from tests.support.judging import context_of
from tests.support.waiting import wait_until
from worker.batches.ingest import Ingester
from worker.batches.local import LocalWorker
from worker.db.answers.results import Judgement, record_all
from worker.db.batches.reruns import open_batch
from worker.db.batches.selection import Selector
from worker.db.read import queries
from worker.db.tasks import claims
from worker.db.tasks.claims import Claimant
from worker.errors import DatabaseUnavailable
from worker.intake.filing import Filing, StudyClock
from worker.judging import lanes, pipeline, take, take_size
from worker.judging.pipeline import score_claims
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from worker.database import Database
    from worker.db.tasks.claims import Claim
    from worker.settings import Settings

pytestmark = pytest.mark.integration

ME = Claimant("me", 60_000, MAX_ATTEMPTS)
TASKS = "SELECT state, attempts, interruptions, error_code FROM task ORDER BY id"


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def films(site: Any, number: int, *, study: str | None = None) -> list[int]:
    """Live tasks of so many films, each in a study of its own or all in one."""
    return [site.receive(study or f"1.{one}", f"{study or 1}.{one}.1").task_id for one in range(number)]


def held_by_me(site: Any, tasks: Sequence[int]) -> list[Claim]:
    return claims.claim(site.sessions, tasks, ME)


def rows(site: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in site.rows(TASKS)]


def judging(monkeypatch: pytest.MonkeyPatch, judge: Callable[[Claim], Judgement]) -> None:
    """Let films be judged so, without their pixels."""
    monkeypatch.setattr(pipeline, "_judge_claim", lambda _, claim: replace(judge(claim), film=None))


def test_results_of_many_films_are_recorded_as_they_would_be_one_by_one(site):
    tasks = films(site, 3) + films(site, 3, study="2")[1:]
    judged = [scored(0.9), refused(Reason.INTERNAL_ERROR), scored(0.1), scored(0.2), scored(0.8)]
    held = held_by_me(site, tasks)
    assert claims.finish(site.sessions, list(zip(held, judged, strict=True))) == set(tasks)
    shown = {row["study_uid"]: (row["ai_status"], row["label"], row["n_scored"]) for row in site.worklist()}
    assert shown["1.0"] == ("FINAL", "PNEUMONIA", 1)
    assert shown["1.1"] == ("FAILED", None, 0)
    assert shown["1.2"] == ("FINAL", "NORMAL", 1)
    assert [row[0] for row in rows(site)[:3]] == ["DONE", "FAILED", "DONE"]


def test_two_results_of_one_film_that_are_recorded_together_follow_each_other(site):
    (first,) = films(site, 1)
    with site.sessions.begin() as session:
        batch = open_batch(
            session, selector=Selector(all=True), model_id=site.add_model("2"), who="me", why="", keep_current=False
        )
    again = site.value(f"SELECT id FROM task WHERE batch_id = {batch.batch_id}")
    held = held_by_me(site, [first, again])
    claims.finish(site.sessions, [(claim, scored(0.1 if claim.task_id == first else 0.9)) for claim in held])
    old, new = site.rows("SELECT id, task_id, is_current, supersedes_id, compared_id FROM result ORDER BY task_id")
    assert (old["is_current"], new["is_current"]) == (False, True)
    if old["id"] < new["id"]:
        assert (new["supersedes_id"], new["compared_id"]) == (old["id"], old["id"])
    else:
        assert (new["supersedes_id"], old["compared_id"]) == (None, new["id"])
    assert site.entry("1.0")["label"] == "PNEUMONIA"


def test_who_lost_one_of_several_leases_loses_that_result_alone(site):
    tasks = films(site, 3)
    held = held_by_me(site, tasks)
    site.expire(tasks[1])
    other = site.claimed(tasks[1], owner="quick")
    assert claims.renew(site.sessions, held, 60_000) == {tasks[0], tasks[2]}
    assert claims.finish(site.sessions, [(claim, scored(0.9)) for claim in held]) == {tasks[0], tasks[2]}
    assert site.value("SELECT count(*) FROM result") == 2
    assert site.ended(other, scored(0.1))
    assert site.entry("1.1")["label"] == "NORMAL"


def test_a_result_that_sql_refuses_costs_its_own_film_an_attempt_and_no_other_one(site, tmp_path, monkeypatch):
    tasks = films(site, 4)
    contradicts_itself = Judgement(score=Score(0.9, 0.0, 0.5, Label.NORMAL))
    judging(monkeypatch, lambda claim: contradicts_itself if claim.task_id == tasks[2] else scored(0.1))
    found = score_claims(context_of(site, tmp_path), held_by_me(site, tasks))
    assert found == dict.fromkeys(tasks, Outcome.OK) | {tasks[2]: Outcome.FAILED}
    done = ("DONE", 1, 0, None)
    assert rows(site) == [done, done, ("PENDING", 1, 0, "INTERNAL_ERROR"), done]


def test_an_error_of_one_film_and_something_that_is_away_for_another_harm_no_third(site, tmp_path, monkeypatch):
    tasks = films(site, 3)

    def judge(claim: Claim) -> Judgement:
        if claim.task_id == tasks[0]:
            raise ValueError
        if claim.task_id == tasks[1]:
            raise OSError(24, "too many open files")
        return scored(0.1)

    judging(monkeypatch, judge)
    found = score_claims(context_of(site, tmp_path), held_by_me(site, tasks))
    assert found == {tasks[0]: Outcome.FAILED, tasks[1]: None, tasks[2]: Outcome.OK}
    assert [row[:2] for row in rows(site)] == [("PENDING", 1), ("PENDING", 0), ("DONE", 1)]


def test_what_is_not_begun_goes_back_as_if_it_had_not_been_claimed(site, tmp_path, monkeypatch):
    tasks = films(site, 4)
    judging(monkeypatch, lambda _: scored(0.1))
    seen: list[int] = []
    context = context_of(site, tmp_path, at_work=seen.append)
    goes_on = iter((True, False))
    assert list(score_claims(context, held_by_me(site, tasks), lambda: next(goes_on))) == tasks[:2]
    assert seen == [tasks[0], 0, tasks[1], 0]
    assert rows(site) == [("DONE", 1, 0, None)] * 2 + [("PENDING", 0, 0, None)] * 2
    assert site.due() == tasks[2:]


@dataclass
class Third:
    """The third film of four: it lasts until the test has seen `until`, and notes what SQL says then."""

    site: Any
    task_id: int
    until: Callable[[], bool]
    seen: list[tuple[Any, ...]] = field(default_factory=list)

    def judge(self, claim: Claim) -> Judgement:
        if claim.task_id == self.task_id:
            wait_until(self.until, what="the other films")
            self.seen = rows(self.site)
        return scored(0.1)


DONE, LEFT = ("DONE", 1, 0, None), ("PENDING", 0, 0, None)


def test_a_film_that_lasts_long_holds_back_neither_those_before_it_nor_those_behind_it(site, tmp_path, monkeypatch):
    tasks = films(site, 4)
    third = Third(site, tasks[2], lambda: rows(site)[:2] == [DONE] * 2 and rows(site)[3] == LEFT)
    judging(monkeypatch, third.judge)
    begun = iter((True, True))
    found = score_claims(context_of(site, tmp_path), held_by_me(site, tasks), lambda: next(begun, False))
    assert third.seen == [DONE, DONE, ("CLAIMED", 1, 0, None), LEFT]
    assert found == dict.fromkeys(tasks[:3], Outcome.OK)
    assert rows(site) == [DONE] * 3 + [LEFT]
    assert site.value("SELECT count(*) FROM result") == 3


def test_a_take_that_goes_on_after_a_long_film_keeps_what_is_left(site, tmp_path, monkeypatch):
    tasks = films(site, 4)
    third = Third(site, tasks[2], lambda: rows(site)[:2] == [DONE] * 2)
    judging(monkeypatch, third.judge)
    assert score_claims(context_of(site, tmp_path), held_by_me(site, tasks)) == dict.fromkeys(tasks, Outcome.OK)
    assert third.seen[3] == ("CLAIMED", 1, 0, None)
    assert rows(site) == [DONE] * 4


def test_what_cannot_be_recorded_while_a_film_lasts_is_recorded_later(site, tmp_path, monkeypatch):
    tasks = films(site, 4)
    real, asked = claims.finish, []

    def finish(sessions: Any, judged: Any) -> set[int]:
        asked.append(len(judged))
        if len(asked) == 1:
            msg = "away"
            raise DatabaseUnavailable(msg)
        return real(sessions, judged)

    monkeypatch.setattr(claims, "finish", finish)
    third = Third(site, tasks[2], lambda: rows(site)[:2] == [DONE] * 2)
    judging(monkeypatch, third.judge)
    assert score_claims(context_of(site, tmp_path), held_by_me(site, tasks)) == dict.fromkeys(tasks, Outcome.OK)
    assert asked == [2, 2, 2]
    assert rows(site) == [DONE] * 4


def test_a_film_that_sql_refuses_is_left_to_the_end_of_the_take_where_it_costs_no_other_one(
    site, tmp_path, monkeypatch
):
    tasks = films(site, 4)
    real, tried = claims.finish, threading.Event()

    def finish(sessions: Any, judged: Any) -> set[int]:
        try:
            return real(sessions, judged)
        finally:
            tried.set()

    monkeypatch.setattr(claims, "finish", finish)
    third = Third(site, tasks[2], tried.is_set)
    contradicts_itself = Judgement(score=Score(0.9, 0.0, 0.5, Label.NORMAL))
    judging(monkeypatch, lambda claim: contradicts_itself if claim.task_id == tasks[1] else third.judge(claim))
    found = score_claims(context_of(site, tmp_path), held_by_me(site, tasks))
    assert found == dict.fromkeys(tasks, Outcome.OK) | {tasks[1]: Outcome.FAILED}
    assert rows(site) == [DONE, ("PENDING", 1, 0, "INTERNAL_ERROR"), DONE, DONE]


def test_a_lease_that_was_lost_is_not_recorded_while_a_film_lasts_either(site, tmp_path, monkeypatch):
    tasks = films(site, 4)
    held = held_by_me(site, tasks)
    site.expire(tasks[0])
    other = site.claimed(tasks[0], owner="quick")
    third = Third(site, tasks[2], lambda: rows(site)[1] == DONE)
    judging(monkeypatch, third.judge)
    found = score_claims(context_of(site, tmp_path), held)
    assert found == dict.fromkeys(tasks, Outcome.OK) | {tasks[0]: None}
    assert third.seen[0] == ("CLAIMED", 2, 0, None)
    assert site.ended(other, scored(0.9))
    assert site.entry("1.0")["label"] == "PNEUMONIA"


def queued(database: Database, url: str, folder: Path, number: int) -> tuple[Settings, list[int]]:
    """Register so many films, with their pixels; the tasks."""
    settings = load_settings(home=folder / "home", database_url=url, max_attempts=1)
    filing = Filing(database.sessions, Store(settings.store), StudyClock(0, 60_000))
    ingester = Ingester(Spool(folder / "spool"), filing)
    for one in range(number):
        ingester.take(save(film(StudyInstanceUID=f"1.2.{one}", SOPInstanceUID=f"1.2.{one}.1"), folder))
    return settings, sorted(ingester.intake.tasks)


@dataclass
class Death:
    """How a worker's process ends by a kill, once; the process after it goes on."""

    once: Path
    #: How many films this process has read.
    read: int = 0
    recorded: threading.Event = field(default_factory=threading.Event)

    def die_once(self) -> None:
        if not self.once.exists():
            self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def in_the_sixth_film(self, path: Path, before: Callable[[], object] = lambda: None) -> Any:
        self.read += 1
        if self.read == 6 and not self.once.exists():
            before()
            self.die_once()
        return film_of_dicom(path)


def judged_in_spite_of_it(settings: Settings, database: Database, tasks: list[int]) -> list[tuple[Any, ...]]:
    """What SQL says of the tasks, once a command's workers have ended all of them."""
    with LocalWorker(settings, database) as worker:
        left = list(tasks)
        while left:
            worker.work_on(left)
            with database.reads() as session:
                left = list(queries.open_among(session, left))
    with database.reads() as session:
        return [tuple(row) for row in session.connection().exec_driver_sql(TASKS)]


@pytest.mark.parametrize("where", ["in a film", "while results are recorded"])
def test_a_process_that_is_killed_amid_several_films_charges_the_one_in_work_alone(
    database: Database, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    settings, tasks = queued(database, migrated_url, tmp_path, 9)
    death = Death(tmp_path / "once")
    # However slow this machine is now, films are taken and recorded together.
    for module in (take_size, take, lanes):
        monkeypatch.setattr(module, "TAKE_S", 60.0)

    def dies_with_several(session: Any, judged: Sequence[Any]) -> None:
        if len(judged) > 2:
            death.die_once()
        record_all(session, judged)

    if where == "in a film":
        monkeypatch.setattr(pipeline, "film_of_dicom", death.in_the_sixth_film)
    else:
        monkeypatch.setattr(claims, "record_all", dies_with_several)
    found = judged_in_spite_of_it(settings, database, tasks)
    lost = [row for row in found if row[0] == "FAILED"]
    assert lost == ([("FAILED", 1, 0, "WORKER_LOST")] if where == "in a film" else [])
    assert all(row[1] == 1 for row in found)
    assert any(row[2] == 1 for row in found), "others were claimed with it"


@pytest.mark.parametrize("is_recorded", [True, False], ids=["after the commit", "before the commit"])
def test_a_process_that_is_killed_while_a_long_film_lets_others_be_recorded_charges_that_one_alone(
    database: Database, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_recorded: bool
) -> None:
    settings, tasks = queued(database, migrated_url, tmp_path, 9)
    death = Death(tmp_path / "once")
    real_finish = claims.finish
    for module in (take_size, lanes):
        monkeypatch.setattr(module, "TAKE_S", 60.0)

    def lasts_long(path: Path) -> Any:
        return death.in_the_sixth_film(path, lambda: death.recorded.wait(30))

    def finish(sessions: Any, judged: Sequence[Any]) -> set[int]:
        ended = real_finish(sessions, judged)
        if death.read == 6:
            death.recorded.set()
        return ended

    def dies_before_the_commit(session: Any, judged: Sequence[Any]) -> None:
        record_all(session, judged)
        if death.read == 6:
            death.die_once()

    monkeypatch.setattr(pipeline, "film_of_dicom", lasts_long)
    monkeypatch.setattr(claims, "finish", finish)
    if not is_recorded:
        monkeypatch.setattr(claims, "record_all", dies_before_the_commit)
    found = judged_in_spite_of_it(settings, database, tasks)
    assert [row for row in found if row[0] == "FAILED"] == [("FAILED", 1, 0, "WORKER_LOST")]
    assert all(row[1] == 1 for row in found)
    # Of a take of four the last film alone, or the two before the long one too.
    assert sum(row[2] for row in found) == (1 if is_recorded else 3)
    with database.reads() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM result").scalar_one() == len(tasks)
