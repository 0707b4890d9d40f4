"""Re-runs: what is selected, a batch that is resumed and not doubled, and what flipped."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from dicom_io.reasons import Reason
from tests.support.database import BOTH, fresh_site, refused, scored
from worker.db.batches import reruns, selection
from worker.db.batches.reruns import BatchProgress, Flip, OpenedBatch
from worker.db.batches.selection import Matching, Selector
from worker.db.read import queries
from worker.errors import UsageError

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def full_site(site):
    """Three finished studies (normal, pneumonia, not applicable) and one that waits; each with one film but the first."""
    site.finish(site.receive("1.1", "1.1.1", accession_number="A1", study_date=date(2026, 1, 1)).task_id, scored(0.1))
    site.change("UPDATE study SET state = 'QUEUED', label = NULL, finished_at = NULL")
    site.finish(site.receive("1.1", "1.1.2").task_id, scored(0.2))
    site.finish(site.receive("1.2", "1.2.1", accession_number="A2", study_date=date(2026, 1, 2)).task_id, scored(0.9))
    lateral = site.receive("1.3", "1.3.1", study_date=date(2026, 1, 3))
    site.finish(lateral.task_id, refused(Reason.LATERAL_VIEW))
    site.receive("1.4", "1.4.1")
    return site


def open_batch(
    site, selector: Selector | None = None, *, keep_current: bool = False, version: str = "2"
) -> OpenedBatch:
    model_id = site.add_model(version)
    with site.sessions.begin() as session:
        return reruns.open_batch(
            session,
            selector=selector or Selector(all=True),
            model_id=model_id,
            who="ada",
            why="a newer model",
            keep_current=keep_current,
        )


def progress(site, batch_id: int) -> BatchProgress:
    with site.sessions() as session:
        return reruns.progress(session, batch_id)


def pending(site, batch_id: int, limit: int = 100) -> list[int]:
    with site.sessions() as session:
        return list(reruns.pending_ids(session, batch_id, limit))


def flips(site, batch_id: int) -> list[Flip]:
    with site.sessions() as session:
        return reruns.flips(session, batch_id)


def close(site, batch_id: int) -> bool:
    with site.sessions.begin() as session:
        return reruns.close_batch_if_done(session, batch_id)


SELECTORS = [
    (Selector(all=True), (4, 5)),
    (Selector(study_uids=("1.1", "1.4", "9.9")), (2, 3)),
    (Selector(accession_numbers=("A2",)), (1, 1)),
    (Selector(states=("FINAL",)), (2, 3)),
    (Selector(states=("NOT_APPLICABLE", "QUEUED")), (2, 2)),
    (Selector(labels=("PNEUMONIA",)), (1, 1)),
    (Selector(scored_by="test-1"), (3, 4)),
    (Selector(scored_by="test-2"), (0, 0)),
    (Selector(study_date_from=date(2026, 1, 2)), (2, 2)),
    (Selector(study_date_to=date(2026, 1, 2)), (2, 3)),
    (Selector(study_date_from=date(2026, 1, 2), study_date_to=date(2026, 1, 2)), (1, 1)),
    (Selector(received_from=datetime(2020, 1, 1, tzinfo=UTC)), (4, 5)),
    (Selector(received_to=datetime(2020, 1, 1, tzinfo=UTC)), (0, 0)),
    (Selector(states=("FINAL",), labels=("NORMAL",), study_uids=("1.2",)), (0, 0)),
]


@pytest.mark.parametrize(("selector", "expected"), SELECTORS)
def test_what_a_selector_names(full_site, selector, expected):
    with full_site.sessions() as session:
        assert selection.matching(session, selector) == Matching(*expected)
    batch = open_batch(full_site, selector)
    assert progress(full_site, batch.batch_id).total == expected[1]


def test_images_that_are_earlier_versions_are_left_out(site):
    site.receive(content="old")
    site.receive(content="new")
    with site.sessions() as session:
        assert selection.matching(session, Selector(all=True)) == Matching(1, 1)


def test_an_empty_selector_selects_nothing_by_accident(site):
    with site.sessions() as session, pytest.raises(UsageError, match="--all"):
        selection.matching(session, Selector())


@pytest.mark.parametrize("selector", [Selector(states=("DONE",)), Selector(labels=("SICK",))])
def test_an_unknown_word_is_named_with_those_that_are_known(site, selector):
    with site.sessions() as session, pytest.raises(UsageError, match=r"unknown .*(DONE|SICK).*(FINAL|NORMAL)"):
        selection.matching(session, selector)


def test_one_question_is_one_text():
    east = timezone(timedelta(hours=2))
    first = Selector(study_uids=("2", "1", "2"), received_from=datetime(2026, 1, 1, 2, tzinfo=east))
    second = Selector(study_uids=("1", "2"), received_from=datetime(2026, 1, 1, tzinfo=UTC))
    assert first.canonical() == second.canonical()
    assert second.canonical() == '{"received_from":"2026-01-01T00:00:00+00:00","study_uids":["1","2"]}'


def test_a_batch_says_who_why_and_which(full_site):
    batch = open_batch(full_site, Selector(labels=("PNEUMONIA",)))
    assert not batch.resumed
    with full_site.sessions() as session:
        row = queries.batch(session, batch.batch_id)
        assert queries.batches(session, 10) == [row]
        assert queries.batch(session, 4711) is None
    assert row is not None
    assert (row["who"], row["why"], row["selector"]) == ("ada", "a newer model", '{"labels":["PNEUMONIA"]}')
    assert (row["model"], row["keep_current"], row["closed_at"]) == ("test-2", False, None)
    assert (row["n_tasks"], row["n_open"], row["n_done"], row["n_failed"]) == (1, 1, 0, 0)


def test_a_batch_killed_half_way_is_resumed_with_exact_counts(full_site):
    batch = open_batch(full_site)
    tasks = pending(full_site, batch.batch_id)
    for task_id in tasks[:2]:
        full_site.finish(task_id, scored(0.9))
    full_site.claimed(tasks[2], owner="killed")
    again = open_batch(full_site)
    assert again == OpenedBatch(batch.batch_id, resumed=True, keep_current=False)
    assert progress(full_site, batch.batch_id) == BatchProgress(total=5, done=2, failed=0, open=3)
    assert pending(full_site, batch.batch_id) == [*tasks[3:], tasks[2]], "what can be claimed comes first"
    full_site.expire(tasks[2])
    for task_id in pending(full_site, batch.batch_id):
        full_site.finish(task_id, scored(0.9))
    assert progress(full_site, batch.batch_id) == BatchProgress(total=5, done=5, failed=0, open=0)
    assert full_site.value("SELECT count(*) FROM result WHERE batch_id IS NOT NULL") == 5
    assert close(full_site, batch.batch_id)
    assert not close(full_site, batch.batch_id)


def test_what_a_closed_batch_came_to_stays_when_its_films_go(full_site):
    batch = open_batch(full_site, Selector(states=("FINAL",)))
    tasks = pending(full_site, batch.batch_id)
    for task_id in tasks[1:]:
        full_site.finish(task_id, scored(0.9))
    full_site.finish(tasks[0], refused(Reason.INTERNAL_ERROR))
    assert close(full_site, batch.batch_id)
    full_site.change("DELETE FROM result WHERE batch_id IS NOT NULL")
    full_site.change("DELETE FROM task WHERE batch_id IS NOT NULL")
    with full_site.sessions() as session:
        row = queries.batch(session, batch.batch_id)
    assert row is not None
    assert [row[name] for name in ("n_tasks", "n_done", "n_failed", "n_cancelled", "n_open")] == [3, 2, 1, 0, 0]


def test_an_open_batch_is_not_closed(full_site):
    assert not close(full_site, open_batch(full_site).batch_id)


def test_a_closed_batch_is_not_resumed(full_site):
    first = open_batch(full_site, Selector(labels=("PNEUMONIA",)))
    full_site.finish(pending(full_site, first.batch_id)[0], scored(0.9))
    close(full_site, first.batch_id)
    second = open_batch(full_site, Selector(labels=("PNEUMONIA",)))
    assert not second.resumed
    assert second.batch_id != first.batch_id
    full_site.finish(pending(full_site, second.batch_id)[0], scored(0.9))
    assert full_site.value("SELECT count(*) FROM result WHERE batch_id IS NOT NULL") == 2


@pytest.mark.parametrize(
    "other", [{"keep_current": True}, {"version": "3"}, {"selector": Selector(labels=("NORMAL",))}]
)
def test_another_question_is_another_batch(full_site, other):
    assert open_batch(full_site).batch_id != open_batch(full_site, **other).batch_id


def test_a_batch_over_nothing_is_closed_at_once(full_site):
    batch = open_batch(full_site, Selector(study_uids=("9.9",)))
    assert full_site.value("SELECT closed_at FROM batch") is not None
    assert progress(full_site, batch.batch_id) == BatchProgress(0, 0, 0, 0)


def test_flips_are_the_films_labelled_otherwise_than_before(full_site):
    batch = open_batch(full_site)
    by_sop = {
        row["sop_uid"]: row["id"]
        for row in full_site.rows(
            "SELECT task.id, image.sop_uid FROM task JOIN image ON image.id = task.image_id WHERE batch_id IS NOT NULL"
        )
    }
    full_site.finish(by_sop["1.1.1"], scored(0.7))
    full_site.finish(by_sop["1.1.2"], scored(0.3))
    full_site.finish(by_sop["1.2.1"], refused(Reason.INTERNAL_ERROR))
    full_site.finish(by_sop["1.3.1"], scored(0.4))
    full_site.finish(by_sop["1.4.1"], scored(0.9))
    assert flips(full_site, batch.batch_id) == [
        Flip("1.1", "1.1.1", "NORMAL", 0.1, "test-1", "PNEUMONIA", 0.7, "test-2"),
        Flip("1.3", "1.3.1", None, None, "test-1", "NORMAL", 0.4, "test-2"),
    ]
    assert progress(full_site, batch.batch_id) == BatchProgress(total=5, done=4, failed=1, open=0)


def test_flips_of_a_batch_that_keeps_the_current_results_compare_with_them(full_site):
    batch = open_batch(full_site, Selector(labels=("PNEUMONIA",)), keep_current=True)
    full_site.finish(pending(full_site, batch.batch_id)[0], scored(0.2))
    (flip,) = flips(full_site, batch.batch_id)
    assert flip.as_dict() == {
        "study_uid": "1.2",
        "sop_uid": "1.2.1",
        "old_label": "PNEUMONIA",
        "old_probability": 0.9,
        "old_model": "test-1",
        "new_label": "NORMAL",
        "new_probability": 0.2,
        "new_model": "test-2",
    }
    assert full_site.entry("1.2")["label"] == "PNEUMONIA"
