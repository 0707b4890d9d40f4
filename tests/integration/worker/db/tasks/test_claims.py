"""Claims: one winner, fenced losers, results that are only added, and the answer of films that end together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from dicom_io.header.facts import GateFacts
from dicom_io.reasons import Reason
from model.labels import Label
from model.serving.classifier import Score
from tests.support.database import BOTH, CHEST, LEASE_MS, MAX_ATTEMPTS, any_film, fresh_site, refused, scored
from worker.db.answers.results import Judgement
from worker.db.batches.reruns import open_batch
from worker.db.batches.selection import Selector
from worker.db.tasks import claims, release
from worker.db.tasks.claims import Claimant
from worker.db.tasks.workers import ProcessRow, Software

if TYPE_CHECKING:
    from worker.db.tasks.claims import Claim

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def rerun(site, *, keep_current: bool = False, version: str = "2") -> list[int]:
    """Open a batch over everything; returns its tasks."""
    model_id = site.add_model(version)
    with site.sessions.begin() as session:
        batch = open_batch(
            session, selector=Selector(all=True), model_id=model_id, who="me", why="test", keep_current=keep_current
        )
    return [row["id"] for row in site.rows(f"SELECT id FROM task WHERE batch_id = {batch.batch_id} ORDER BY id")]


def give_up(site, task_id, **others):
    values = {"error_class": "ValueError", "error_code": Reason.INTERNAL_ERROR, "backoff_ms": 0}
    return claims.retry_later(site.sessions, site.claimed(task_id), max_attempts=MAX_ATTEMPTS, **{**values, **others})


def test_a_claim_tells_what_the_work_needs(site):
    entry = site.receive(study="1.2.3", sop="1.2.3.1", body_part="CHEST", age_months=40)
    claim = site.claimed(entry.task_id, owner="host:1:a")
    assert (claim.task_id, claim.token, claim.attempts, claim.owner) == (entry.task_id, 1, 1, "host:1:a")
    assert (claim.kind, claim.model_id, claim.model) == ("SCORE", site.model_id, "test-1")
    assert (claim.batch_id, claim.keep_current) == (None, False)
    image = claim.image
    assert (image.image_id, image.study_id, image.study_uid) == (entry.image_id, entry.study_id, "1.2.3")
    assert (image.sop_uid, image.film_key, image.film_version) == ("1.2.3.1", None, None)
    assert image.facts == GateFacts(**{**CHEST, "age_months": 40})


def process(name: str, asked: list[str]) -> Claimant:
    """A claimant that goes on record with its versions, which `asked` counts."""

    def software() -> Software:
        asked.append(name)
        return Software("1.2", "3.11.2", {"numpy": "2.0", "tensorflow-cpu": None})

    host, pid, _ = name.split(":")
    return Claimant(name, LEASE_MS, MAX_ATTEMPTS, ProcessRow(name, host, int(pid), software))


JUDGED_BY = (
    "SELECT task.id, worker_process.host, worker_process.pid, worker_process.auscult, worker_process.libraries FROM task "
    "JOIN result ON result.task_id = task.id LEFT JOIN worker_process ON worker_process.id = result.worker_process_id "
    "ORDER BY task.id"
)


def test_a_process_goes_on_record_once_with_its_first_claim_and_each_result_names_it(site):
    tasks = [site.receive(f"1.{number}", f"1.{number}.1").task_id for number in range(4)]
    asked: list[str] = []
    one, two = process("here:7:a", asked), process("there:8:b", asked)
    assert claims.claim(site.sessions, [99], one) == []
    assert asked == []
    held = claims.claim(site.sessions, tasks[:2], one) + claims.claim(site.sessions, [tasks[2]], two)
    held += claims.claim(site.sessions, [tasks[3]], one)
    assert asked == ["here:7:a", "there:8:b"]
    assert claims.finish(site.sessions, [(claim, scored(0.1)) for claim in held]) == set(tasks)
    libraries = '{"numpy": "2.0", "tensorflow-cpu": null}'
    here, there = ("here", 7, "1.2", libraries), ("there", 8, "1.2", libraries)
    assert [tuple(row.values()) for row in site.rows(JUDGED_BY)] == [
        (task, *made) for task, made in zip(tasks, (here, here, there, here), strict=True)
    ]
    assert site.value("SELECT count(*) FROM worker_process") == 2


def test_a_claim_that_is_rolled_back_takes_its_process_along_and_the_next_one_brings_it(site, monkeypatch):
    task_id = site.receive("1.1", "1.1.1").task_id
    asked: list[str] = []
    me = process("here:7:a", asked)

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(claims, "_claims", fails)
        with pytest.raises(ZeroDivisionError):
            claims.claim(site.sessions, [task_id], me)
    assert site.value("SELECT count(*) FROM worker_process") == 0
    (claim,) = claims.claim(site.sessions, [task_id], me)
    assert site.ended(claim, scored(0.1))
    assert [row["host"] for row in site.rows(JUDGED_BY)] == ["here"]


def test_a_task_keeps_the_moment_of_its_last_claim(site):
    task_id = site.receive("1.1", "1.1.1").task_id
    moment = f"SELECT claimed_at_ms FROM task WHERE id = {task_id}"
    assert site.value(moment) is None
    assert give_up(site, task_id)
    first = site.value(moment)
    site.change("UPDATE task SET claimed_at_ms = claimed_at_ms - 5000")
    site.finish(task_id, scored(0.1))
    assert first <= site.value(moment)


def test_a_film_that_lost_its_process_names_that_process(site):
    tasks = [site.receive(f"1.{number}", f"1.{number}.1").task_id for number in range(2)]
    site.change(f"UPDATE task SET attempts = {MAX_ATTEMPTS - 1}")
    claims.claim(site.sessions, tasks, process("here:7:a", []))
    lost = Reason.WORKER_LOST
    release.give_up(site.sessions, "here:7:a", lost, at_work=tasks[0], backoff_ms=0, max_attempts=MAX_ATTEMPTS)
    claims.claim(site.sessions, tasks, process("here:8:b", []))
    site.expire(tasks[1])
    assert site.bury() == 1
    assert [(row["id"], row["pid"]) for row in site.rows(JUDGED_BY)] == [(tasks[0], 7), (tasks[1], 8)]


def test_of_six_claimers_at_once_one_wins(site):
    entry = site.receive()
    start = threading.Barrier(6)

    def try_it(number: int) -> Claim | None:
        start.wait(30)
        found: Claim | None = site.claim(entry.task_id, owner=f"worker {number}")
        return found

    with ThreadPoolExecutor(6) as pool:
        won = [claim for claim in pool.map(try_it, range(6)) if claim]
    assert len(won) == 1
    assert site.rows("SELECT state, attempts, lease_token, lease_owner FROM task") == [
        {"state": "CLAIMED", "attempts": 1, "lease_token": 1, "lease_owner": won[0].owner}
    ]


def test_a_held_task_is_not_claimed_again(site):
    entry = site.receive()
    site.claimed(entry.task_id)
    assert site.claim(entry.task_id) is None


def test_a_task_that_does_not_exist_is_not_claimed(site):
    assert site.claim(4711) is None


def test_a_finished_task_is_not_claimed_again(site):
    entry = site.receive()
    site.finish(entry.task_id, scored(0.9))
    assert site.claim(entry.task_id) is None


def test_who_lost_the_lease_writes_nothing(site):
    entry = site.receive()
    old = site.claimed(entry.task_id, owner="slow")
    site.expire(entry.task_id)
    new = site.claimed(entry.task_id, owner="quick")
    assert (old.token, new.token, new.attempts) == (1, 2, 2)
    assert not claims.renew(site.sessions, [old], LEASE_MS)
    assert not site.ended(old, scored(0.9))
    late: dict[str, Any] = {"error_class": "E", "error_code": Reason.INTERNAL_ERROR, "backoff_ms": 0}
    assert not claims.retry_later(site.sessions, old, max_attempts=9, **late)
    assert not claims.retry_later(site.sessions, old, max_attempts=1, **late)
    assert site.rows("SELECT id FROM result") == []
    assert site.ended(new, scored(0.1))
    assert not site.ended(old, scored(0.9))
    assert site.entry()["label"] == "NORMAL"
    assert site.value("SELECT count(*) FROM result") == 1


def test_a_renewed_lease_is_not_taken(site):
    entry = site.receive()
    claim = site.claimed(entry.task_id)
    site.expire(entry.task_id)
    assert claims.renew(site.sessions, [claim], LEASE_MS)
    assert site.claim(entry.task_id) is None
    assert site.ended(claim, scored(0.9))
    assert not claims.renew(site.sessions, [claim], LEASE_MS)


def test_a_killed_workers_task_ends_with_one_current_result_on_the_second_attempt(site):
    entry = site.receive()
    site.claimed(entry.task_id, owner="killed")
    site.expire(entry.task_id)
    site.finish(entry.task_id, scored(0.9))
    assert site.rows("SELECT state, attempts FROM task") == [{"state": "DONE", "attempts": 2}]
    assert len(site.current(entry.image_id)) == 1


def test_a_result_keeps_everything_the_worker_found(site):
    entry = site.receive()
    site.finish(
        entry.task_id,
        scored(0.75, threshold=0.6, flags=(Reason.VIEW_UNKNOWN, Reason.AGE_UNKNOWN), decode_ms=12.5, inference_ms=6.25),
    )
    (result,) = site.current(entry.image_id)
    assert (result["probability"], result["logit"], result["threshold"], result["label"]) == (
        0.75,
        0.5,
        0.6,
        "PNEUMONIA",
    )
    assert result["flags"] == '["AGE_UNKNOWN","VIEW_UNKNOWN"]'
    assert (result["decode_ms"], result["inference_ms"], result["engine"]) == (12.5, 6.25, "litert")
    image = site.rows("SELECT film_key, film_version, film_sha256 FROM image")[0]
    digest = any_film().sha256
    assert image == {"film_key": digest, "film_version": 1, "film_sha256": digest}
    row = site.entry()
    assert (row["probability"], row["threshold"], row["flags"]) == (0.75, 0.6, ["AGE_UNKNOWN", "VIEW_UNKNOWN"])
    assert (row["model_name"], row["model_version"], row["n_scored"]) == ("test", "1", 1)


def test_an_older_film_does_not_take_the_place_of_a_newer_one(site):
    entry = site.receive()
    site.finish(entry.task_id, scored(0.9, film=any_film(2, grey=2)))
    (task_id,) = rerun(site)
    site.finish(task_id, scored(0.9, film=any_film(1, grey=1)))
    assert site.rows("SELECT film_key, film_version FROM image") == [
        {"film_key": any_film(2, grey=2).sha256, "film_version": 2}
    ]


@pytest.mark.parametrize(
    "judgement",
    [
        Judgement(score=Score(0.9, 0.0, 0.5, Label.NORMAL)),
        Judgement(score=Score(0.4, 0.0, 0.5, Label.PNEUMONIA)),
        Judgement(score=Score(1.5, 0.0, 0.5, Label.PNEUMONIA)),
        Judgement(),
        Judgement(Reason.TIMED_OUT, score=Score(0.1, 0.0, 0.5, Label.NORMAL)),
    ],
)
def test_a_result_that_contradicts_itself_is_refused_whole(site, judgement):
    entry = site.receive()
    claim = site.claimed(entry.task_id)
    with pytest.raises(IntegrityError):
        site.ended(claim, judgement)
    assert site.rows("SELECT state FROM task") == [{"state": "CLAIMED"}]
    assert site.rows("SELECT id FROM result") == []
    assert site.entry()["label"] is None


@pytest.mark.parametrize("probabilities", [(0.1, 0.2), (0.1, 0.9), (0.9, 0.1), (0.8, 0.9)])
def test_films_that_end_together_see_each_other(site, probabilities):
    """Without the study's lock each would find the other one open, and nobody would end the study."""
    for study in range(5):
        tasks = [site.receive(f"1.{study}", f"1.{study}.{film}").task_id for film in range(2)]
        held = [site.claimed(task_id) for task_id in tasks]
        start = threading.Barrier(2)

        def end(claim, probability, start=start):
            start.wait(30)
            return site.ended(claim, scored(probability))

        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(end, held, probabilities))
        row = site.entry(f"1.{study}")
        assert (row["ai_status"], row["n_scored"]) == ("FINAL", 2)
        assert (row["label"], row["probability"]) == (Label.of(max(probabilities), 0.5), max(probabilities))


def test_a_study_is_final_only_when_its_quiet_time_is_over(site):
    site.finish(site.receive(quiet_ms=600_000).task_id, scored(0.1))
    row = site.entry()
    assert (row["ai_status"], row["label"], row["finished_at"]) == ("PROVISIONAL", None, None)
    assert 0 <= row["waiting_s"] < 600
    site.change("UPDATE study SET ready_at_ms = 1")
    site.settle()
    row = site.entry()
    assert (row["ai_status"], row["label"], row["waiting_s"]) == ("FINAL", "NORMAL", None)
    assert row["finished_at"] is not None


def test_pneumonia_shows_before_the_study_is_final(site):
    site.finish(site.receive(quiet_ms=600_000).task_id, scored(0.9))
    row = site.entry()
    assert (row["ai_status"], row["label"], row["finished_at"]) == ("PROVISIONAL", "PNEUMONIA", None)


def test_a_film_that_could_not_be_read_fails_the_study(site):
    tasks = [site.receive(sop=f"1.{film}").task_id for film in range(2)]
    site.finish(tasks[0], scored(0.1))
    site.finish(tasks[1], refused(Reason.DECODE_FAILED))
    row = site.entry()
    assert (row["ai_status"], row["label"], row["probability"]) == ("FAILED", None, None)
    assert (row["reason"], row["n_images"], row["n_scored"]) == ("DECODE_FAILED", 2, 1)


def test_a_rerun_adds_a_result_and_becomes_current(site):
    entry = site.receive()
    site.finish(entry.task_id, scored(0.1))
    (task_id,) = rerun(site)
    site.finish(task_id, scored(0.9))
    old, new = site.rows("SELECT id, task_id, is_current, supersedes_id, compared_id FROM result ORDER BY id")
    assert (old["is_current"], old["supersedes_id"], old["compared_id"]) == (False, None, None)
    assert (new["is_current"], new["supersedes_id"], new["compared_id"]) == (True, old["id"], old["id"])
    row = site.entry()
    assert (row["ai_status"], row["label"], row["model_version"]) == ("FINAL", "PNEUMONIA", "2")


def test_an_older_task_that_ends_late_changes_nothing(site):
    entry = site.receive()
    late = site.claimed(entry.task_id)
    (task_id,) = rerun(site)
    site.finish(task_id, scored(0.9))
    assert site.entry()["label"] == "PNEUMONIA"
    assert site.ended(late, scored(0.1))
    (current,) = site.current(entry.image_id)
    assert current["task_id"] == task_id
    assert site.entry()["label"] == "PNEUMONIA"
    assert site.value("SELECT supersedes_id FROM result WHERE NOT is_current") is None


@pytest.mark.parametrize("reason", [Reason.INTERNAL_ERROR, Reason.DECODE_FAILED])
def test_a_failed_rerun_never_displaces_an_answer(site, reason):
    entry = site.receive()
    site.finish(entry.task_id, scored(0.9))
    before = site.entry()
    (task_id,) = rerun(site)
    site.finish(task_id, refused(reason))
    assert site.entry() == before
    assert [row["task_id"] for row in site.current(entry.image_id)] == [entry.task_id]
    assert site.value("SELECT count(*) FROM result") == 2


def test_a_rerun_mends_a_failed_study(site):
    entry = site.receive()
    site.finish(entry.task_id, refused(Reason.DECODE_FAILED))
    assert site.entry()["ai_status"] == "FAILED"
    (task_id,) = rerun(site)
    site.finish(task_id, scored(0.1))
    assert (site.entry()["ai_status"], site.entry()["label"]) == ("FINAL", "NORMAL")


def test_a_rerun_that_keeps_the_current_result_only_adds(site):
    entry = site.receive()
    site.finish(entry.task_id, scored(0.1))
    before = site.entry()
    (task_id,) = rerun(site, keep_current=True)
    site.finish(task_id, scored(0.9))
    assert site.entry() == before
    added = site.rows(f"SELECT is_current, supersedes_id, compared_id FROM result WHERE task_id = {task_id}")[0]
    first = site.value(f"SELECT id FROM result WHERE task_id = {entry.task_id}")
    assert added == {"is_current": False, "supersedes_id": None, "compared_id": first}


def test_a_failed_attempt_comes_back_after_its_pause(site):
    entry = site.receive()
    assert give_up(site, entry.task_id, backoff_ms=60_000)
    row = site.rows("SELECT state, attempts, lease_owner, error_class, error_code FROM task")[0]
    assert row == {
        "state": "PENDING",
        "attempts": 1,
        "lease_owner": None,
        "error_class": "ValueError",
        "error_code": "INTERNAL_ERROR",
    }
    assert site.claim(entry.task_id) is None
    assert site.due() == []
    site.change("UPDATE task SET not_before_ms = 1")
    assert site.due() == [entry.task_id]
    assert site.claimed(entry.task_id).attempts == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (Reason.MODEL_UNAVAILABLE, "MODEL_UNAVAILABLE"),
        ("no such code", "INTERNAL_ERROR"),
        (Reason.NOT_CHEST, "INTERNAL_ERROR"),
    ],
)
def test_the_last_failed_attempt_ends_the_task_with_its_reason(site, code, reason):
    entry = site.receive()
    for _ in range(MAX_ATTEMPTS):
        assert give_up(site, entry.task_id, error_code=code)
    assert site.rows("SELECT state, attempts FROM task") == [{"state": "FAILED", "attempts": MAX_ATTEMPTS}]
    assert site.claim(entry.task_id) is None
    (result,) = site.current(entry.image_id)
    assert (result["outcome"], result["reason_code"]) == ("FAILED", reason)
    row = site.entry()
    assert (row["ai_status"], row["reason"], row["label"]) == ("FAILED", reason, None)
    assert site.value("SELECT failed_24h FROM queue_health") == 1


def test_a_result_is_unique_for_its_task(site):
    entry = site.receive()
    site.finish(entry.task_id, scored(0.9))
    with pytest.raises(IntegrityError):
        site.change(
            "INSERT INTO result (task_id, image_id, model_id, outcome, reason_code, flags, is_current, created_at) "
            "SELECT task_id, image_id, model_id, 'FAILED', 'TIMED_OUT', '[]', false, created_at FROM result"
        )


def test_two_current_results_of_an_image_are_impossible(site):
    entry = site.receive()
    site.finish(entry.task_id, scored(0.9))
    (task_id,) = rerun(site, keep_current=True)
    site.finish(task_id, scored(0.9))
    with pytest.raises(IntegrityError):
        site.change("UPDATE result SET is_current = true")


def test_normal_cannot_even_be_written_for_an_unfinished_study(site):
    site.finish(site.receive(quiet_ms=600_000).task_id, scored(0.1))
    with pytest.raises(IntegrityError):
        site.change("UPDATE study SET label = 'NORMAL', probability = 0.1, threshold = 0.5")
