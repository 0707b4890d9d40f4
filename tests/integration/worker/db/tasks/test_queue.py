"""The dispatcher's statements: what is due, tasks given up, studies settled."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from dicom_io.reasons import Reason
from tests.support.database import BOTH, MAX_ATTEMPTS, fresh_site, scored
from worker.db.answers.results import record
from worker.db.batches.reruns import open_batch
from worker.db.batches.selection import Selector
from worker.db.read import probes, queries
from worker.db.tasks import claims, queue
from worker.db.tasks.due import Lane, count_due, due_by_lane, is_live_due
from worker.db.tasks.workers import WorkerBeat, heartbeat, live_workers, sign_off

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def rerun(site) -> None:
    with site.sessions.begin() as session:
        open_batch(
            session,
            selector=Selector(all=True),
            model_id=site.add_model("2"),
            who="me",
            why="test",
            keep_current=False,
        )


def test_a_claimed_task_is_due_when_its_lease_has_run_out(site):
    entry = site.receive()
    site.claimed(entry.task_id)
    assert site.due() == []
    site.expire(entry.task_id)
    assert site.due() == [entry.task_id]


def test_live_work_and_that_of_a_batch_are_due_apart(site):
    live = site.receive().task_id
    rerun(site)
    (batch,) = (row["id"] for row in site.rows("SELECT id FROM task WHERE batch_id IS NOT NULL"))
    assert (site.due(Lane.LIVE), site.due(Lane.RERUN), site.due(Lane.SHADOW)) == ([live], [batch], [])


def test_what_is_due_is_counted_up_to_a_bound_and_without_what_is_held_or_waits_for_its_time(site):
    entries = [site.receive("1.2", f"1.2.{number}") for number in range(5)]
    rerun(site)
    site.claimed(entries[0].task_id)
    site.change(f"UPDATE task SET not_before_ms = 9000000000000 WHERE id = {entries[1].task_id}")
    with site.sessions() as session:
        assert (count_due(session, 100), count_due(session, 2)) == (3 + 5, 2)
        assert is_live_due(session)
        assert due_by_lane(session, 100) == {Lane.LIVE: 3, Lane.RERUN: 5, Lane.SHADOW: 0}
        assert due_by_lane(session, 2) == {Lane.LIVE: 2, Lane.RERUN: 2, Lane.SHADOW: 0}
    for entry in entries[2:]:
        site.finish(entry.task_id, scored(0.1))
    with site.sessions() as session:
        assert not is_live_due(session)


def test_a_task_whose_last_worker_died_is_given_up(site):
    entry = site.receive()
    for _ in range(MAX_ATTEMPTS):
        site.claimed(entry.task_id)
        assert site.bury() == 0
        site.expire(entry.task_id)
    assert site.claim(entry.task_id) is None
    assert site.bury() == 1
    assert site.bury() == 0
    row = site.entry()
    assert (row["ai_status"], row["reason"], row["label"]) == ("FAILED", "WORKER_LOST", None)
    assert site.rows("SELECT state, lease_owner FROM task") == [{"state": "FAILED", "lease_owner": None}]


def test_a_study_whose_lost_task_cannot_be_ended_is_named_and_holds_up_no_other(site, monkeypatch, caplog):
    # Their numbers differ from those of their films.
    site.receive("1.0", "1.0.1")
    site.receive("1.0", "1.0.2")
    entries = [site.receive(f"1.{number}", f"1.{number}.1") for number in (1, 2)]
    site.change("UPDATE task SET attempts = 9 WHERE image_id > 2")

    def fails_for_one(session, reference, judgement):
        if reference.image_id == entries[0].image_id:
            raise ValueError
        record(session, reference, judgement)

    monkeypatch.setattr(queue, "record", fails_for_one)
    assert site.bury() == 1
    (said,) = [line for line in caplog.records if getattr(line, "action", "") == "undecided"]
    assert said.study == entries[0].study_id != entries[0].image_id


def test_a_task_beyond_a_lowered_limit_is_given_up_and_not_forgotten(site):
    entry = site.receive()
    for _ in range(MAX_ATTEMPTS):
        claims.retry_later(
            site.sessions,
            site.claimed(entry.task_id),
            error_class="E",
            error_code=Reason.MODEL_UNAVAILABLE,
            backoff_ms=0,
            max_attempts=MAX_ATTEMPTS + 2,
        )
    assert site.claim(entry.task_id) is None
    assert site.bury() == 1
    assert site.entry()["reason"] == "MODEL_UNAVAILABLE"


def test_a_buried_task_of_a_slow_worker_is_fenced(site):
    entry = site.receive()
    for _ in range(MAX_ATTEMPTS):
        slow = site.claimed(entry.task_id)
        site.expire(entry.task_id)
    site.bury()
    assert not site.ended(slow, scored(0.9))
    assert site.value("SELECT count(*) FROM result") == 1


def test_a_study_whose_wait_is_over_is_settled_once(site):
    entry = site.receive(quiet_ms=600_000)
    with site.sessions.begin() as session:
        assert queue.settle_studies(session, 10) == 0
    site.change("UPDATE study SET ready_at_ms = 1")
    with site.sessions.begin() as session:
        assert queue.settle_studies(session, 10) == 1
    assert site.entry()["ai_status"] == "QUEUED"
    with site.sessions.begin() as session:
        assert queue.settle_studies(session, 10) == 0
    site.finish(entry.task_id, scored(0.1))
    assert site.entry()["ai_status"] == "FINAL"


def test_open_work_of_a_rerun_keeps_no_study_from_being_final(site):
    entry = site.receive()
    rerun(site)
    site.finish(entry.task_id, scored(0.1))
    assert site.entry()["ai_status"] == "FINAL"


def test_a_study_left_without_open_work_is_settled(site):
    """No path leads here; if one ever does, the study must not wait for ever, and must not read as normal."""
    site.receive()
    site.settle()
    site.change("UPDATE task SET state = 'CANCELLED'")
    site.settle()
    row = site.entry()
    assert (row["ai_status"], row["label"], row["reason"]) == ("FAILED", None, "INTERNAL_ERROR")


def test_settling_many_studies_takes_as_many_statements_as_settling_one(site):
    def statements_for(number: int) -> int:
        for study in range(number):
            uid = f"{number}.{study}"
            site.finish(site.receive(uid, f"{uid}.1", patient_id=uid, quiet_ms=600_000).task_id, scored(0.1))
        site.change("UPDATE study SET ready_at_ms = 1")
        seen: list[str] = []

        def note(_connection, _cursor, statement, *_):
            seen.append(statement)

        with site.sessions.begin() as session:
            event.listen(site.engine, "before_cursor_execute", note)
            assert queue.settle_studies(session, 100) == number
            event.remove(site.engine, "before_cursor_execute", note)
        return len(seen)

    one = statements_for(1)
    assert statements_for(20) == one
    assert {(row["ai_status"], row["label"]) for row in site.worklist()} == {("FINAL", "NORMAL")}


def test_settling_goes_on_until_nothing_is_due(site):
    for number in range(7):
        site.receive(f"1.{number}", f"1.{number}.1")
    site.change("UPDATE study SET state = 'RECEIVING'")
    with site.sessions.begin() as session:
        assert queue.settle_studies(session, 5) == 5
        queries.settle(session)
    assert {row["ai_status"] for row in site.worklist()} == {"QUEUED"}


def test_a_batch_nobody_came_back_for_is_closed_after_an_hour(site):
    site.receive()
    rerun(site)
    (task_id,) = site.due(Lane.RERUN)
    site.finish(task_id, scored(0.9))
    site.settle()
    assert site.value("SELECT closed_at FROM batch") is None
    site.change("UPDATE batch SET created_at = '2020-01-01 00:00:00.000000'")
    site.change("UPDATE task SET finished_at = '2020-01-01 00:00:00.000000' WHERE batch_id IS NOT NULL")
    site.settle()
    assert site.value("SELECT closed_at FROM batch") is not None


def beat(name: str = "a", **others) -> WorkerBeat:
    values = {
        "host": "h",
        "pid": 1,
        "kind": "celery",
        "model": "test-1",
        "engine": "litert",
        "task_id": None,
        "tasks_done": 0,
    }
    return WorkerBeat(name=name, **{**values, **others})


def test_a_worker_lives_by_its_heartbeat(site):
    entry = site.receive()
    heartbeat(site.sessions, beat("a"))
    started = site.value("SELECT started_at FROM worker")
    heartbeat(site.sessions, beat("a", task_id=entry.task_id, tasks_done=3))
    heartbeat(site.sessions, beat("b"))
    assert site.rows("SELECT started_at, task_id, tasks_done FROM worker WHERE name = 'a'") == [
        {"started_at": started, "task_id": entry.task_id, "tasks_done": 3}
    ]
    site.change("UPDATE worker SET heartbeat_at = '2020-01-01 00:00:00.000000' WHERE name = 'b'")
    with site.sessions() as session:
        assert live_workers(session, 20_000) == 1
        assert probes.queue_health(session)["silent_workers"] == 1
    sign_off(site.sessions, "a")
    with site.sessions() as session:
        assert live_workers(session, 20_000) == 0


def test_a_heartbeat_of_a_worker_with_an_unknown_task_is_kept_all_the_same(site):
    for task_id in (2**62, None, 2**62):
        heartbeat(site.sessions, beat("a", task_id=task_id))
        assert site.rows("SELECT name, task_id FROM worker") == [{"name": "a", "task_id": None}]


def test_a_command_that_does_its_own_work_is_no_worker_to_wait_for(site):
    heartbeat(site.sessions, beat("a", kind="local"))
    with site.sessions() as session:
        assert live_workers(session, 20_000) == 0


def test_a_worker_silent_for_a_day_is_forgotten_when_another_one_comes(site):
    heartbeat(site.sessions, beat("old"))
    site.change("UPDATE worker SET heartbeat_at = '2020-01-01 00:00:00.000000'")
    heartbeat(site.sessions, beat("new"))
    assert site.rows("SELECT name FROM worker") == [{"name": "new"}]
