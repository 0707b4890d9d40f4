"""The shadow: it scores what the active model scores, and the worklist is row for row what it is without one."""

from __future__ import annotations

import pytest

from dicom_io.reasons import Reason
from model.labels import Band
from tests.support.database import BOTH, MAX_ATTEMPTS, MOVING, fresh_site, refused, scored
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.models import bundles
from worker.db.models.bundles import Order
from worker.db.read import queries
from worker.db.schema.engine import in_transaction
from worker.db.tasks import claims, shadow
from worker.db.tasks.due import Lane
from worker.errors import UsageError

pytestmark = pytest.mark.integration

ADA = Order("ada", "a newer network")
#: What depends on the moment and on nothing else.
#: The rank has the moment of arrival in it; the rows come in its order.


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def shadowed(site):
    """A site with a shadow, the model 2."""
    start(site, site.add_model("2"))
    return site


def start(site, model_id: int) -> bool:
    return in_transaction(site.sessions, lambda session: shadow.start_shadow(session, model_id, ADA))


def end(site, model_id: int) -> bool:
    return in_transaction(site.sessions, lambda session: shadow.end_shadow(session, model_id, ADA))


def shadow_tasks(site) -> list[int]:
    return [row["id"] for row in site.rows("SELECT id FROM task WHERE batch_id IS NOT NULL ORDER BY id")]


def rows(site) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in MOVING} for row in site.worklist()]


STEPS = (
    lambda site: site.receive("1.1", "1.1.1", quiet_ms=600_000),
    lambda site: site.receive("1.1", "1.1.2", quiet_ms=600_000),
    lambda site: site.finish(task_of(site, "1.1.1"), scored(0.2, flags=(Reason.AGE_UNKNOWN,))),
    lambda site: site.change("UPDATE study SET ready_at_ms = 0"),
    lambda site: site.settle(),
    lambda site: site.finish(task_of(site, "1.1.2"), scored(0.7, band=Band.HIGH)),
    lambda site: site.receive("1.1", "1.1.2", content="other bytes"),
    lambda site: site.receive("1.2", "1.2.1"),
    lambda site: site.finish(task_of(site, "1.2.1"), refused(Reason.LATERAL_VIEW)),
    lambda site: site.receive("1.3", "1.3.1"),
    lambda site: site.finish(task_of(site, "1.3.1"), refused(Reason.TIMED_OUT)),
    lambda site: site.settle(),
    lambda site: site.finish(task_of(site, "1.1.2"), scored(0.1, band=Band.LOW)),
    lambda site: site.settle(),
)


def task_of(site, sop: str) -> int:
    """The live task of the image that counts."""
    found: int = site.value(
        f"SELECT task.id FROM task JOIN image ON image.id = task.image_id "
        f"WHERE sop_uid = '{sop}' AND image.is_current AND batch_id IS NULL"
    )
    return found


def _score_all(site, tasks) -> None:
    for task_id in tasks:
        site.finish(task_id, scored(0.95))


def _fail_all(site, tasks) -> None:
    for task_id in tasks:
        for _ in range(MAX_ATTEMPTS):
            claim = site.claimed(task_id)
            claims.retry_later(
                site.sessions,
                claim,
                error_class="BundleError",
                error_code="MODEL_UNAVAILABLE",
                backoff_ms=0,
                max_attempts=MAX_ATTEMPTS,
            )


def _lose_all(site, tasks) -> None:
    for task_id in tasks:
        for _ in range(MAX_ATTEMPTS):
            site.claimed(task_id)
            site.expire(task_id)
    assert site.bury() == len(tasks)


def _leave_all(_site, _tasks) -> None:
    """A shadow that is too slow: its tasks are still open when everything else is done."""


@pytest.mark.parametrize("shadow_does", [_score_all, _fail_all, _lose_all, _leave_all])
@pytest.mark.parametrize("order", ["before", "after"])
def test_the_worklist_with_a_shadow_is_row_for_row_the_one_without(request, tmp_path, shadow_does, order):
    """The same history twice, side by side: after every step the two worklists are equal."""
    for kind in BOTH:
        (folder := tmp_path / kind).mkdir()
        (other := folder / "shadowed").mkdir()
        plain, shadowed = (fresh_site(request, path, kind) for path in (folder, other))
        one, two = next(plain), next(shadowed)
        start(two, two.add_model("2"))
        seen: set[int] = set()
        for step in STEPS:
            step(one)
            if order == "after":
                step(two)
                assert rows(one) == rows(two)
            fresh = [task for task in shadow_tasks(two) if task not in seen]
            seen.update(fresh)
            shadow_does(two, fresh)
            if order == "before":
                step(two)
            assert rows(one) == rows(two)
        assert len(seen | set(shadow_tasks(two))) == 5
        assert [row["ai_status"] for row in rows(two)] == ["FAILED", "NOT_APPLICABLE", "FINAL"]
        assert two.value("SELECT count(*) FROM result WHERE batch_id IS NOT NULL AND is_current") == 0
        for ended in (plain, shadowed):
            next(ended, None)


def test_each_new_image_gets_a_second_task_of_the_shadow_that_comes_later(shadowed):
    entry = shadowed.receive()
    live, second = shadowed.rows("SELECT * FROM task ORDER BY id")
    assert (live["id"], live["batch_id"], live["model_id"]) == (entry.task_id, None, shadowed.model_id)
    assert (second["id"], second["model_id"]) == (entry.shadow_task_id, shadowed.model_id + 1)
    assert second["batch_id"] is not None
    assert second["priority"] > live["priority"]


def test_the_same_bytes_again_are_no_second_work_for_the_shadow(shadowed):
    shadowed.receive(content="same")
    again = shadowed.receive(content="same")
    assert again.shadow_task_id is None
    assert len(shadow_tasks(shadowed)) == 1


def test_without_a_shadow_there_is_one_task(site):
    assert site.receive().shadow_task_id is None
    assert site.value("SELECT count(*) FROM task") == 1


def test_live_work_reruns_and_shadows_wait_in_lanes_of_their_own(shadowed):
    entry = shadowed.receive()
    with shadowed.sessions.begin() as session:
        reruns.open_batch(
            session,
            selector=Selector(all=True),
            model_id=shadowed.model_id,
            who="bob",
            why="",
            keep_current=False,
        )
    (rerun,) = [task for task in shadow_tasks(shadowed) if task != entry.shadow_task_id]
    assert shadowed.due(Lane.LIVE) == [entry.task_id]
    assert shadowed.due(Lane.RERUN) == [rerun]
    assert shadowed.due(Lane.SHADOW) == [entry.shadow_task_id]


def test_a_model_is_a_shadow_once_and_one_model_at_a_time(shadowed):
    second, third = shadowed.model_id + 1, shadowed.add_model("3")
    assert not start(shadowed, second)
    with pytest.raises(UsageError, match="test-2 is the shadow: end it"):
        start(shadowed, third)
    with pytest.raises(UsageError, match="test-1 is active: a shadow is another model"):
        start(shadowed, shadowed.model_id)
    assert shadowed.value("SELECT count(*) FROM batch") == 1


def test_the_end_of_a_shadow_cancels_what_nobody_has_begun_and_keeps_what_was_scored(shadowed):
    model_id = shadowed.model_id + 1
    scored_task, claimed_task, waiting = (shadowed.receive(f"1.{n}", f"1.{n}.1").shadow_task_id for n in range(3))
    shadowed.finish(scored_task, scored(0.9))
    claim = shadowed.claimed(claimed_task)
    assert end(shadowed, model_id)
    assert not end(shadowed, model_id)
    assert shadowed.due(Lane.SHADOW) == []
    assert shadowed.ended(claim, scored(0.8))
    found = {row["id"]: row["state"] for row in shadowed.rows("SELECT id, state FROM task WHERE batch_id IS NOT NULL")}
    assert found == {scored_task: "DONE", claimed_task: "DONE", waiting: "CANCELLED"}
    with shadowed.sessions() as session:
        (batch,) = queries.batches(session, 10)
    assert (batch["kind"], batch["who"], batch["why"], batch["model"]) == ("SHADOW", *_said(), "test-2")
    assert [batch[name] for name in ("n_tasks", "n_done", "n_failed", "n_cancelled", "n_open")] == [3, 2, 0, 1, 0]
    assert batch["closed_at"] is not None
    assert shadowed.receive("1.9", "1.9.1").shadow_task_id is None


def _said() -> tuple[str, str]:
    return ADA.who, ADA.why


def test_a_shadow_of_long_ago_is_not_taken_for_a_forgotten_rerun(shadowed):
    shadowed.change("UPDATE batch SET created_at = '2020-01-01 00:00:00.000000'")
    shadowed.settle()
    assert shadowed.value("SELECT closed_at FROM batch") is None
    assert shadowed.receive().shadow_task_id is not None


def test_a_shadow_may_come_again(shadowed):
    model_id = shadowed.model_id + 1
    end(shadowed, model_id)
    assert start(shadowed, model_id)
    assert shadowed.value("SELECT count(*) FROM batch") == 2
    assert shadowed.receive().shadow_task_id is not None


def test_a_shadow_that_is_made_active_leaves_its_batch_and_scores_for_all(shadowed):
    model_id = shadowed.model_id + 1

    def promote(session) -> None:
        shadow.end_shadow(session, model_id, ADA)
        bundles.activate(session, model_id, ADA)

    in_transaction(shadowed.sessions, promote)
    entry = shadowed.receive()
    assert entry.shadow_task_id is None
    assert shadowed.value(f"SELECT model_id FROM task WHERE id = {entry.task_id}") == model_id


#: Active and shadow: two agreements, two disagreements, and what one of them or both did not answer.
PAIRS = [
    (scored(0.1), scored(0.2)),
    (scored(0.9), scored(0.8)),
    (scored(0.9), scored(0.7)),
    (scored(0.2), scored(0.6)),
    (scored(0.8), scored(0.1)),
    (scored(0.3), refused(Reason.MODEL_UNAVAILABLE)),
    (refused(Reason.UNLIKE_TRAINING), scored(0.4)),
    (refused(Reason.LATERAL_VIEW), refused(Reason.LATERAL_VIEW)),
]


def _live_through(site) -> None:
    for number, (active, second) in enumerate(PAIRS):
        entry = site.receive(f"1.{number}", f"1.{number}.1")
        # Whichever ends first.
        tasks = [(entry.task_id, active), (entry.shadow_task_id, second)]
        for task_id, row in tasks if number % 2 else reversed(tasks):
            site.finish(task_id, row)


def test_the_comparison_shows_both_answers_of_every_film(shadowed):
    _live_through(shadowed)
    shadowed.receive("1.9", "1.9.1")
    found = shadowed.rows("SELECT * FROM shadow_comparison ORDER BY study_uid")
    assert [row["study_uid"] for row in found] == [f"1.{number}" for number in range(8)]
    assert {(row["active_model_version"], row["shadow_model_version"]) for row in found} == {("1", "2")}
    assert [row["disagrees"] for row in found] == [0, 0, 0, 1, 1, None, None, None]
    assert [row["difference"] for row in found[:5]] == pytest.approx([0.1, -0.1, -0.2, 0.4, -0.7])
    assert (found[5]["shadow_outcome"], found[5]["shadow_reason"]) == ("FAILED", "MODEL_UNAVAILABLE")
    assert (found[6]["active_outcome"], found[6]["active_reason"]) == ("NOT_APPLICABLE", "UNLIKE_TRAINING")
    assert {row["notice"] for row in found} == {"Not a medical device. Not for diagnosis."}


def test_the_report_counts_agreement_and_gives_kappa_and_the_mean_difference(shadowed):
    _live_through(shadowed)
    with shadowed.sessions() as session:
        (found,) = shadow.compare(session, "test-2")
        assert shadow.compare(session, "test-1") == []
        assert shadow.known_shadow(session) == "test-2"
    assert (found.active, found.shadow, found.films, found.compared, found.agree) == ("test-1", "test-2", 8, 5, 3)
    assert (found.both_normal, found.both_pneumonia) == (1, 2)
    assert (found.only_active_pneumonia, found.only_shadow_pneumonia) == (1, 1)
    assert (found.only_active_answered, found.only_shadow_answered) == (1, 1)
    # Agreement 3/5, by chance (2 * 2 + 3 * 3) / 25.
    assert found.kappa == pytest.approx((0.6 - 0.52) / 0.48)
    assert found.mean_difference == pytest.approx(-0.1)
    assert found.mean_absolute_difference == pytest.approx(0.3)


def test_kappa_is_none_where_chance_alone_would_agree(shadowed):
    entry = shadowed.receive()
    shadowed.finish(entry.task_id, scored(0.1))
    shadowed.finish(entry.shadow_task_id, scored(0.2))
    with shadowed.sessions() as session:
        (found,) = shadow.compare(session, "test-2")
    assert (found.compared, found.agree, found.kappa) == (1, 1, None)


def test_each_active_model_is_compared_by_itself(shadowed):
    entry = shadowed.receive("1.1", "1.1.1")
    shadowed.finish(entry.task_id, scored(0.1))
    shadowed.finish(entry.shadow_task_id, scored(0.2))
    other = shadowed.add_model("3")
    in_transaction(shadowed.sessions, lambda session: bundles.activate(session, other, ADA))
    entry = shadowed.receive("1.2", "1.2.1")
    shadowed.finish(entry.task_id, scored(0.9))
    shadowed.finish(entry.shadow_task_id, scored(0.2))
    with shadowed.sessions() as session:
        assert [(item.active, item.films, item.agree) for item in shadow.compare(session, "test-2")] == [
            ("test-1", 1, 1),
            ("test-3", 1, 0),
        ]
