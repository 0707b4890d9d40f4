"""A purge: what goes and what stays, crashes at each step, and what happens beside it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import update

from dicom_io.errors import SpoolError
from dicom_io.inbox.store import StoreAway
from dicom_io.reasons import Reason
from tests.support.database import BOTH, any_film, attempted, fresh_site, refused, scored
from tests.support.retention import ORIGINAL_BYTES, Holding
from worker.db.answers.recompute import lock_study_of_image
from worker.db.audit.record import Actor
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.delivery.outcome import Ended
from worker.db.retention import files, runs
from worker.db.retention.commitments import commit_objects
from worker.db.schema.states import PurgeKind
from worker.db.schema.study import Study
from worker.db.tasks.claims import Claimant
from worker.judging.pipeline import WorkerContext
from worker.retention import purge as purging
from worker.retention import removing
from worker.retention.schedule import SCHEDULE, Retention

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def holding(request, tmp_path):
    for site in fresh_site(request, tmp_path):
        held = Holding.of(site, tmp_path / "home")
        yield held
        held.close()


ADA = Actor("ada", "here")


def purge(holding, **changes):
    return purging.purge(holding.settings, holding.database, holding.policy(**changes), actor=ADA, why="space")


def rerun(holding) -> list[int]:
    with holding.site.sessions.begin() as session:
        batch = reruns.open_batch(
            session,
            selector=Selector(all=True),
            model_id=holding.site.model_id,
            who="ada",
            why="",
            keep_current=False,
        )
        return list(reruns.pending_ids(session, batch.batch_id, 100))


@pytest.mark.parametrize("ends", ["well", "over its time"])
def test_a_film_stays_while_its_answer_is_being_delivered(holding, ends):
    holding.judged("1.1", "1.1.1", days=40)
    limits = {"purge_originals_days": 10, "purge_films_days": 10}

    def kept() -> set[str]:
        looked = purging.outlook(holding.settings, holding.database, holding.policy(**limits))
        assert purge(holding, **limits).originals == len(looked.go) // 2
        return {item.reason for item in looked.kept}

    destination_id = holding.tell()
    assert kept() == {"UNDELIVERED"}
    claimed = holding.sending(destination_id)
    holding.site.change("UPDATE delivery SET give_up_ms = 1")
    assert kept() == {"UNDELIVERED"}
    holding.site.change("UPDATE delivery SET give_up_ms = not_before_ms + 86400000")
    assert holding.sent(claimed, Ended.UNCONFIRMED)
    # The archive may answer that it has lost it.
    assert kept() == {"UNDELIVERED"}
    assert (holding.originals, holding.film_files) == (1, 1)
    if ends == "well":
        holding.site.change("UPDATE delivery SET state = 'CONFIRMED', finished_at = delivered_at")
    else:
        holding.site.change("UPDATE delivery SET give_up_ms = 1")
    assert kept() == set()
    assert (holding.originals, holding.film_files) == (0, 0)


def test_old_originals_and_films_go_by_their_own_ages_and_results_stay(holding):
    holding.judged("1.1", "1.1.1", days=40, grey=1)
    holding.judged("1.2", "1.2.1", days=20, grey=2)
    holding.judged("1.3", "1.3.1", days=5, grey=3)
    looked = purging.outlook(
        holding.settings, holding.database, holding.policy(purge_originals_days=10, purge_films_days=30)
    )
    assert [(item.file, item.reason, item.count, item.studies) for item in looked.go] == [
        ("ORIGINAL", "AGE", 2, 2),
        ("FILM", "AGE", 1, 1),
    ]
    assert looked.go[0].bytes == 2 * ORIGINAL_BYTES
    assert [item.as_dict() for item in looked.kept] == [
        {"file": "ORIGINAL", "reason": "AGE", "files": 1},
        {"file": "FILM", "reason": "AGE", "files": 2},
    ]
    report = purge(holding, purge_originals_days=10, purge_films_days=30)
    assert (report.studies, report.originals, report.films, report.failed) == (2, 2, 1, 0)
    assert report.bytes == looked.bytes
    assert (holding.originals, holding.film_files) == (1, 2)
    assert [holding.marks(f"1.{number}.1") for number in (1, 2, 3)] == [(True, True), (True, False), (False, False)]
    assert {row["label"] for row in holding.site.worklist()} == {"NORMAL"}
    assert len(holding.site.rows("SELECT * FROM result_history")) == 3
    (row,) = holding.site.rows("SELECT * FROM purges")
    assert (row["kind"], row["who"], row["why"], row["ended_how"], row["files_left"]) == (
        "PIXELS",
        "ada",
        "space",
        "DONE",
        0,
    )
    assert (row["n_studies"], row["n_originals"], row["n_films"], row["freed_bytes"]) == (2, 2, 1, report.bytes)
    events = holding.site.rows(
        "SELECT study_uid, who, from_where, action, detail FROM audit WHERE act = 'STUDY_PURGED'"
    )
    assert {(row["study_uid"], row["who"], row["from_where"], row["action"]) for row in events} == {
        ("1.1", "ada", "here", "D"),
        ("1.2", "ada", "here", "D"),
    }
    assert [json.loads(row["detail"])["file"] for row in events] == ["ORIGINAL", "ORIGINAL", "FILM"]
    holding.every_row_tells_the_truth()
    again = purge(holding, purge_originals_days=10, purge_films_days=30)
    assert (again.studies, again.bytes) == (0, 0)


def test_what_is_purged_stays_visible(holding):
    holding.judged(days=40)
    purge(holding, purge_originals_days=10)
    (row,) = holding.site.rows("SELECT sop_uid, original, film, original_purged_at, committed_until FROM retention")
    assert (row["sop_uid"], row["original"], row["film"]) == ("1.2.3.1", "PURGED", "HELD")
    assert row["original_purged_at"] is not None


def test_what_is_unfinished_in_conflict_failed_or_in_a_batch_stays(holding):
    holding.receive("1.1", "1.1.1", days=40)
    failed = holding.receive("1.2", "1.2.1")
    holding.site.finish(failed.task_id, refused(Reason.TIMED_OUT))
    holding.judged("1.3", "1.3.1", grey=3)
    rerun(holding)
    holding.judged("1.4", "1.4.1", patient_id="P", content="one")
    holding.judged("1.5", "1.4.1", patient_id="Q", content="two")
    holding.site.settle()
    for number in range(1, 6):
        holding.age(f"1.{number}", 40)
    kept = purging.outlook(holding.settings, holding.database, holding.policy(purge_originals_days=1)).kept
    assert {(item.reason, item.count) for item in kept} == {("UNFINISHED", 3), ("CONFLICT", 2)}
    assert purge(holding, purge_originals_days=1).originals == 0
    assert holding.originals == 5


def test_studies_of_a_state_that_the_site_names_go(holding):
    failed = holding.receive("1.2", "1.2.1")
    holding.site.finish(failed.task_id, refused(Reason.TIMED_OUT))
    holding.site.settle()
    holding.age("1.2", 40)
    assert purge(holding, purge_originals_days=1).originals == 0
    assert purge(holding, purge_originals_days=1, purge_states=("FAILED",)).originals == 1


def test_a_committed_object_stays_until_its_time_is_over_and_its_film_may_go(holding):
    entry = holding.judged(days=40)
    with holding.site.sessions.begin() as session:
        assert commit_objects(session, [entry.image_id], "CT1", "1.9", 30) == {entry.image_id}
    report = purge(holding, purge_originals_days=1, purge_films_days=1)
    assert (report.originals, report.films) == (0, 1)
    holding.site.change("UPDATE commitment SET until = '2020-01-01 00:00:00'")
    assert purge(holding, purge_originals_days=1).originals == 1


def test_an_original_that_a_purge_took_is_not_committed(holding):
    entry = holding.judged(days=40)
    purge(holding, purge_originals_days=1)
    with holding.site.sessions.begin() as session:
        assert commit_objects(session, [entry.image_id], "CT1", "1.9", 30) == set()


def test_the_same_transaction_again_prolongs_the_commitment(holding):
    entry = holding.judged()
    for days in (1, 30):
        with holding.site.sessions.begin() as session:
            commit_objects(session, [entry.image_id], "CT1", "1.9", days)
    (row,) = holding.site.rows("SELECT requester, until FROM commitment")
    assert row["requester"] == "CT1"
    assert str(row["until"]) > str(datetime.now(UTC).replace(tzinfo=None) + timedelta(days=20))


def test_a_film_that_two_images_share_goes_with_the_last_of_them(holding):
    holding.judged("1.1", "1.1.1", days=40, grey=7)
    holding.judged("1.2", "1.2.1", days=5, grey=7)
    assert purge(holding, purge_films_days=10).films == 0
    assert (holding.film_files, holding.marks("1.1.1"), holding.marks("1.2.1")) == (1, (False, True), (False, False))
    holding.age("1.2", 40)
    assert purge(holding, purge_films_days=10).films == 1
    assert holding.film_files == 0
    holding.every_row_tells_the_truth()


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["before the file", "after the file", "before the mark is committed"])
def test_a_purge_that_is_killed_loses_nothing_and_the_next_one_ends_its_work(holding, monkeypatch, step):
    holding.judged("1.1", "1.1.1", days=40, grey=1)
    holding.judged("1.2", "1.2.1", days=40, grey=2)

    def die(*_: object, **__: object) -> None:
        raise Killed

    place = {
        "before the file": (removing.Remover, "_remove_one"),
        "after the file": (files, "confirm"),
        "before the mark is committed": (runs, "renew"),
    }[step]
    monkeypatch.setattr(*place, die)
    monkeypatch.setattr(runs, "finish", die)
    with pytest.raises(Killed):
        purge(holding, purge_originals_days=1, purge_films_days=1)
    holding.site.change("UPDATE purge SET lease_until_ms = 1")
    for row in holding.site.rows("SELECT store_key, original_purged_at FROM image"):
        assert row["original_purged_at"] is not None or holding.store.exists(row["store_key"])
    monkeypatch.undo()
    purge(holding, purge_originals_days=1, purge_films_days=1)
    assert (holding.originals, holding.film_files) == (0, 0)
    assert holding.site.rows("SELECT * FROM removal") == []
    assert [row["ended_how"] for row in holding.site.rows("SELECT ended_how FROM purge ORDER BY id")] == [
        "STOPPED",
        "DONE",
    ]
    counted = holding.site.rows("SELECT sum(n_originals) AS o, sum(n_films) AS f FROM purge")[0]
    # What was removed before it was counted is gone all the same.
    assert (counted["o"], counted["f"]) == ((0, 2) if step == "after the file" else (2, 2))


def test_one_purge_runs_at_a_time_and_a_dead_one_is_followed(holding):
    order = runs.Order(PurgeKind.PIXELS, ADA, "", {})
    with purging.running(holding.database, order), pytest.raises(runs.PurgeRuns, match="another purge is running"):
        purge(holding, purge_originals_days=1)
    with purging.running(holding.database, order) as number:
        holding.site.change("UPDATE purge SET lease_until_ms = 1")
        purge(holding, purge_originals_days=1)
        with pytest.raises(runs.PurgeLost), holding.site.sessions.begin() as session:
            runs.renew(session, number)
    assert [row["ended_how"] for row in holding.site.rows("SELECT ended_how FROM purge ORDER BY id")] == [
        "DONE",
        "STOPPED",
        "DONE",
    ]


def test_a_file_that_cannot_be_removed_is_left_to_the_next_purge(holding, monkeypatch):
    holding.judged("1.1", "1.1.1", days=40, grey=1)
    holding.judged("1.2", "1.2.1", days=40, grey=2)
    bad = holding.site.value("SELECT store_key FROM image WHERE sop_uid = '1.1.1'")
    real = removing.Remover._remove_one

    def purged(store, key):
        if key == bad:
            raise SpoolError
        return real_purge(store, key)

    real_purge = type(holding.store).purge
    monkeypatch.setattr(type(holding.store), "purge", purged)
    report = purge(holding, purge_originals_days=1)
    assert (report.originals, report.failed, holding.originals) == (1, 1, 1)
    monkeypatch.undo()
    assert removing.Remover._remove_one is real
    assert purge(holding, purge_originals_days=1).studies == 0
    assert holding.originals == 0
    holding.every_row_tells_the_truth()


def test_nothing_is_marked_while_the_store_is_away(holding):
    holding.judged(days=40)
    (holding.settings.films / ".auscult").unlink()
    with pytest.raises(StoreAway):
        purge(holding, purge_originals_days=1)
    assert holding.marks() == (False, False)
    assert holding.site.rows("SELECT * FROM purge") == []


def test_for_free_space_the_oldest_go_first_and_no_more_than_needed(holding, monkeypatch):
    for number, days in ((1, 40), (2, 30), (3, 20), (4, 3)):
        holding.judged(f"1.{number}", f"1.{number}.1", days=days, grey=number)
    wanted = 1 << 20
    monkeypatch.setattr(purging, "free_bytes", lambda _: wanted - (holding.originals - 2) * ORIGINAL_BYTES)
    monkeypatch.setattr(purging, "STUDIES_FOR_SPACE", 1)
    looked = purging.outlook(holding.settings, holding.database, holding.policy(purge_free_mb=1))
    assert [(item.file, item.reason, item.count) for item in looked.go] == [("ORIGINAL", "FREE_SPACE", 2)]
    report = purge(holding, purge_free_mb=1)
    assert (report.originals, report.films, report.short) == (2, 0, 0)
    assert [holding.marks(f"1.{number}.1")[0] for number in range(1, 5)] == [True, True, False, False]


def test_where_too_little_may_go_for_free_space_the_report_and_the_health_say_so(holding, monkeypatch):
    holding.judged("1.1", "1.1.1", days=40, grey=1)
    holding.judged("1.2", "1.2.1", days=3, grey=2)
    for module in (purging, purging_schedule()):
        monkeypatch.setattr(module, "free_bytes", lambda _: 1000)
    looked = purging.outlook(holding.settings, holding.database, holding.policy(purge_free_mb=1))
    assert looked.short > 0
    settings = holding.settings.model_copy(update={"purge_free_mb": 1})
    loop = Retention(settings, holding.database)
    assert loop.finding().level == "OK"
    loop.turn()
    assert (holding.originals, holding.film_files) == (1, 1)
    assert loop.finding().level == "WARN"
    assert "no rule lets more go" in loop.finding().sentence
    rows = holding.site.rows("SELECT who FROM purge")
    loop.turn()
    # A purge without work adds no row.
    assert holding.site.rows("SELECT who FROM purge") == rows == [{"who": SCHEDULE}]


def purging_schedule():
    from worker.retention import schedule

    return schedule


def test_the_schedule_keeps_to_its_hours_and_runs_once_an_hour(holding):
    holding.judged("1.1", "1.1.1", days=40, grey=1)
    settings = holding.settings.model_copy(update={"purge_originals_days": 30, "purge_hours": "22-6"})
    hour = [12]
    loop = Retention(settings, holding.database, lambda: datetime(2026, 5, 1, hour[0], tzinfo=UTC))
    loop.turn()
    assert holding.originals == 1
    hour[0] = 23
    loop.turn()
    assert holding.originals == 0
    holding.judged("1.2", "1.2.1", days=40, grey=2)
    loop.turn()
    assert holding.originals == 1
    holding.site.change("UPDATE purge SET started_at = '2020-01-01 00:00:00'")
    loop.turn()
    assert holding.originals == 0


def test_a_site_without_rules_purges_nothing(holding):
    holding.judged(days=4000)
    Retention(holding.settings, holding.database).turn()
    assert (holding.originals, holding.site.rows("SELECT * FROM purge")) == (1, [])


def worker_of(holding) -> WorkerContext:
    return WorkerContext(
        claimant=Claimant("me", 60_000, 3),
        sessions=holding.site.sessions,
        store=holding.store,
        films=holding.films,
        classifier_of=cast("Any", lambda _: SimpleNamespace(bundle=SimpleNamespace(age_years=(1, 5)))),
        backoff_ms=0,
        engine="litert",
        policies=holding.settings.policies,
        film_memory_mb=512,
    )


def test_a_rerun_of_a_purged_film_ends_at_once_with_its_reason_and_the_answer_stays(holding):
    holding.judged(days=40)
    purge(holding, purge_originals_days=1, purge_films_days=1)
    (task_id,) = rerun(holding)
    assert attempted(worker_of(holding), task_id) == "FAILED"
    rows = holding.site.rows("SELECT outcome, reason, attempts, is_current FROM result_history ORDER BY result_id")
    assert [(row["outcome"], row["reason"], row["attempts"], bool(row["is_current"])) for row in rows] == [
        ("OK", None, 1, True),
        ("FAILED", "PURGED", 1, False),
    ]
    assert (holding.site.entry()["ai_status"], holding.site.entry()["label"]) == ("FINAL", "NORMAL")


def test_a_film_that_is_lost_is_still_told_from_one_that_was_purged(holding):
    holding.judged(days=40)
    purge(holding, purge_originals_days=1)
    for path in holding.settings.films.rglob("*.png"):
        path.unlink()
    (task_id,) = rerun(holding)
    for _ in range(3):
        attempted(worker_of(holding), task_id)
        holding.site.change("UPDATE task SET not_before_ms = 0")
    assert holding.site.rows("SELECT reason FROM result_history ORDER BY result_id")[-1]["reason"] == "ORIGINAL_MISSING"


def test_the_film_of_a_rerun_takes_the_mark_away(holding):
    entry = holding.judged(days=40)
    purge(holding, purge_films_days=1)
    assert holding.marks() == (False, True)
    (task_id,) = rerun(holding)
    holding.judge(task_id, scored(0.2))
    assert holding.marks() == (False, False)
    assert entry.image_id
    holding.every_row_tells_the_truth()


def test_a_film_that_is_removed_while_a_worker_records_it_is_written_again(holding, monkeypatch):
    """The worker finds the film on disk, a purge removes it as that of another image, then the worker commits."""
    from worker.db.tasks import claims
    from worker.judging import pipeline

    holding.judged("1.1", "1.1.1", days=40, grey=7)
    other = holding.receive("1.2", "1.2.1")
    claim = holding.site.claimed(other.task_id)
    real = claims.finish

    def finish(*arguments):
        purge(holding, purge_films_days=1)
        assert holding.film_files == 0
        return real(*arguments)

    monkeypatch.setattr(claims, "finish", finish)
    pipeline._record(worker_of(holding), [(claim, scored(0.1, film=any_film(grey=7)))])
    assert (holding.film_files, holding.marks("1.2.1")) == (1, (False, False))
    holding.every_row_tells_the_truth()


def test_a_film_that_a_worker_recorded_before_the_purge_confirms_is_marked_too(holding, monkeypatch):
    holding.judged("1.1", "1.1.1", days=40, grey=7)
    other = holding.receive("1.2", "1.2.1")

    def named(*_):
        # After the look and before the removal.
        holding.site.finish(other.task_id, scored(0.1, film=any_film(grey=7)))
        return set()

    monkeypatch.setattr(files, "still_named", named)
    purge(holding, purge_films_days=1)
    assert holding.film_files == 0
    holding.every_row_tells_the_truth()


def test_a_study_that_gains_a_film_while_the_purge_looks_at_it_stays(holding, monkeypatch):
    holding.judged("1.1", "1.1.1", days=40, grey=1)
    real = files.oldest

    def oldest(*arguments):
        found = real(*arguments)
        if found:
            holding.receive("1.1", "1.1.2")
        return found

    monkeypatch.setattr(files, "oldest", oldest)
    assert purge(holding, purge_originals_days=1).originals == 0
    assert holding.originals == 2


def test_the_purge_waits_for_who_holds_the_study(holding):
    """On PostgreSQL the study's lock, on SQLite the one writer."""
    holding.judged("1.1", "1.1.1", days=40, grey=1)
    began = threading.Event()
    done: list[int] = []

    def run() -> None:
        began.set()
        done.append(purge(holding, purge_originals_days=1).originals)

    thread = threading.Thread(target=run)
    image_id = holding.site.value("SELECT id FROM image")
    with holding.site.sessions.begin() as session:
        study_id = session.query(Study.id).filter_by(study_uid="1.1").scalar()
        lock_study_of_image(session, image_id)
        thread.start()
        assert began.wait(60)
        session.execute(update(Study).where(Study.id == study_id).values(last_rx_at=datetime.now(UTC)))
    thread.join(60)
    assert done == [0]
    assert holding.marks("1.1.1") == (False, False)
