"""A suspended model gives no NORMAL, and PNEUMONIA with a flag; a person decides what becomes of its answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dicom_io.reasons import Reason
from tests.support.database import BOTH, MOVING, Site, fresh_site, refused, scored
from tests.support.suspensions import (
    ADA,
    DISCARDED,
    FLAGGED,
    NORMAL,
    PNEUMONIA,
    RELEASED,
    REQUEUED,
    SUSPENDED,
    WITHHELD,
    activate,
    follow,
    judged,
    rerun,
    resume,
    says,
    suspend,
    two_studies,
)
from worker.db.answers.results import Judgement
from worker.db.batches import reruns, suspensions, withholding
from worker.db.batches.suspensions import Affected, Resumed
from worker.db.models import bundles
from worker.db.read import figures
from worker.db.schema.engine import in_transaction
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

#: What is decided in Python alone is tried on one database.
ON_SQLITE = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture(params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path)


def test_a_suspended_model_withholds_normal_and_keeps_pneumonia_of_rows_that_are_there(site: Site) -> None:
    two_studies(site)
    judged(site, "1.3", refused(Reason.LATERAL_VIEW))
    assert suspend(site) == Affected(normal=1, pneumonia=1)
    assert says(site, "1.1") == WITHHELD
    assert says(site, "1.2") == FLAGGED
    assert says(site, "1.3") == ("NOT_APPLICABLE", None, "LATERAL_VIEW", []), "the network never saw it"
    entry = site.entry("1.1")
    assert (entry["probability"], entry["threshold"], entry["band"]) == (None, None, None)


def test_what_comes_while_a_model_is_suspended_is_scored_and_kept_and_its_normal_is_withheld(site: Site) -> None:
    suspend(site)
    two_studies(site)
    assert (says(site, "1.1"), says(site, "1.2")) == (WITHHELD, FLAGGED)
    history = site.rows("SELECT label, flags, is_in_doubt FROM result_history ORDER BY result_id")
    assert [(row["label"], row["flags"], bool(row["is_in_doubt"])) for row in history] == [
        ("NORMAL", "[]", True),
        ("PNEUMONIA", "[]", True),
    ]


@ON_SQLITE
def test_one_film_in_doubt_withholds_the_normal_of_its_study(site: Site) -> None:
    other = site.add_model("2")
    judged(site, "1.1", scored(0.1), "1.1.1")
    activate(site, other)
    judged(site, "1.1", scored(0.2), "1.1.2")
    suspend(site)
    assert says(site, "1.1") == WITHHELD
    judged(site, "1.1", scored(0.9), "1.1.3")
    assert says(site, "1.1") == FLAGGED


@ON_SQLITE
def test_a_film_that_the_suspended_model_found_out_of_its_scope_is_in_doubt_too(site: Site) -> None:
    judged(site, "1.1", Judgement(Reason.UNLIKE_TRAINING, unlikeness=1.4))
    suspend(site)
    assert says(site, "1.1") == ("NOT_APPLICABLE", None, "UNLIKE_TRAINING", [SUSPENDED])


def test_answers_before_the_last_good_check_stand(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    site.change("UPDATE result SET created_at = '2026-01-01 00:00:00'")
    judged(site, "1.2", scored(0.1))
    assert suspend(site, since=datetime(2026, 1, 2, tzinfo=UTC)) == Affected(normal=1)
    assert (says(site, "1.1"), says(site, "1.2")) == (NORMAL, WITHHELD)


def test_the_last_good_check_is_the_last_activation_until_a_suspension_ended(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    site.change("UPDATE result SET created_at = '2026-01-02 00:00:00'")
    site.change("UPDATE model_event SET at = '2026-01-01 00:00:00'")
    assert suspend(site) == Affected(normal=1)
    resume(site, RELEASED)
    judged(site, "1.2", scored(0.1))
    assert suspend(site) == Affected(normal=1)
    assert (says(site, "1.1"), says(site, "1.2")) == (NORMAL, WITHHELD)


@ON_SQLITE
def test_of_a_model_that_was_never_activated_everything_is_in_doubt(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    other = site.add_model("2")
    rerun(site, other, scored(0.2))
    assert says(site, "1.1") == NORMAL
    suspend(site, other)
    assert says(site, "1.1") == WITHHELD


@ON_SQLITE
def test_a_last_good_check_is_not_to_come(site: Site) -> None:
    with pytest.raises(UsageError, match="the last good check must be in the past"):
        suspend(site, since=datetime.now(UTC) + timedelta(days=1))


@ON_SQLITE
def test_suspending_again_changes_nothing_unless_earlier_answers_are_in_doubt_as_well(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    site.change("UPDATE result SET created_at = '2026-01-01 00:00:00'")
    assert suspend(site) == Affected()
    assert suspend(site) is None
    assert says(site, "1.1") == NORMAL
    assert suspend(site, since=datetime(2025, 12, 31, tzinfo=UTC)) == Affected(normal=1)
    assert says(site, "1.1") == WITHHELD
    assert site.value("SELECT count(*) FROM suspension") == 1


@ON_SQLITE
def test_other_models_go_on_saying_normal(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    suspend(site)
    activate(site, site.add_model("2"))
    judged(site, "1.2", scored(0.1))
    assert (says(site, "1.1"), says(site, "1.2")) == (WITHHELD, NORMAL)


def test_release_shows_every_answer_as_it_was(site: Site) -> None:
    two_studies(site)
    judged(site, "1.3", scored(0.2, flags=(Reason.AGE_UNKNOWN,)))
    still = set(site.entry("1.1")) - MOVING
    before = [{name: row[name] for name in still} for row in site.worklist()]
    suspend(site)
    judged(site, "1.4", scored(0.1))
    assert resume(site, RELEASED).affected == Affected(withheld=3, pneumonia=1)
    assert says(site, "1.4") == NORMAL
    assert [{name: row[name] for name in still} for row in site.worklist(["1.1", "1.2", "1.3"])] == before


def test_discarded_answers_stay_in_doubt_and_what_comes_afterwards_counts(site: Site) -> None:
    two_studies(site)
    suspend(site)
    asked = site.receive("1.3", "1.3.1")
    assert resume(site, DISCARDED).affected == Affected(withheld=1, pneumonia=1)
    site.finish(asked.task_id, scored(0.1))
    site.settle()
    judged(site, "1.4", scored(0.1))
    assert [says(site, study) for study in ("1.1", "1.2", "1.3", "1.4")] == [WITHHELD, FLAGGED, WITHHELD, NORMAL]


@ON_SQLITE
def test_a_discarded_pneumonia_goes_only_by_a_result_that_counts_and_the_row_says_so(site: Site) -> None:
    two_studies(site)
    suspend(site)
    resume(site, DISCARDED)
    rerun(site, site.add_model("2"), scored(0.2))
    assert says(site, "1.1") == NORMAL
    assert says(site, "1.2") == ("FINAL", "NORMAL", None, ["ANSWER_LOWERED"])


def test_rerun_withholds_until_the_model_that_is_active_then_has_answered(site: Site) -> None:
    two_studies(site)
    suspend(site)
    asked = site.receive("1.3", "1.3.1")
    other = site.add_model("2")
    activate(site, other)
    judged(site, "1.4", scored(0.1))
    resumed = resume(site, REQUEUED)
    assert (resumed.model, resumed.films) == ("test-2", 3), "the film that is still to be judged is in it"
    assert resumed.batch is not None
    site.finish(asked.task_id, scored(0.1))
    site.settle()
    assert [says(site, study) for study in ("1.1", "1.2", "1.3")] == [WITHHELD, FLAGGED, WITHHELD]
    with site.sessions() as session:
        tasks = list(reruns.pending_ids(session, resumed.batch.batch_id, 10))
    for task_id, judgement in zip(tasks, (scored(0.2), scored(0.8), refused(Reason.TIMED_OUT)), strict=True):
        site.finish(task_id, judgement)
    assert [says(site, study) for study in ("1.1", "1.2", "1.3", "1.4")] == [NORMAL, PNEUMONIA, WITHHELD, NORMAL]


@ON_SQLITE
def test_a_rerun_without_a_film_in_doubt_opens_no_batch(site: Site) -> None:
    suspend(site)
    assert resume(site, REQUEUED) == Resumed(Affected())
    assert site.value("SELECT count(*) FROM batch") == 0


@ON_SQLITE
def test_a_suspended_active_model_is_nobody_to_score_again(site: Site) -> None:
    two_studies(site)
    other = site.add_model("2")
    suspend(site)
    activate(site, other)
    suspend(site, other)
    with pytest.raises(UsageError, match="test-2 is the active model and suspended as well: activate another model"):
        resume(site, REQUEUED)
    assert says(site, "1.1") == WITHHELD


@ON_SQLITE
def test_nothing_is_resumed_that_is_not_suspended(site: Site) -> None:
    with pytest.raises(UsageError, match="test-1 is not suspended: there is nothing to resume"):
        resume(site, RELEASED)


@ON_SQLITE
def test_an_answer_withheld_for_another_doubt_stays_so_after_a_release(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    site.receive("1.2", "1.1.1", patient_id="BEN")
    site.settle()
    suspend(site)
    assert says(site, "1.1")[:3] == ("WITHHELD", None, SUSPENDED)
    resume(site, RELEASED)
    assert says(site, "1.1") == ("WITHHELD", None, "IDENTITY_CONFLICT", ["IDENTITY_CONFLICT"])


@ON_SQLITE
def test_a_suspension_of_its_own_time_that_was_discarded_outlives_the_release_of_a_later_one(site: Site) -> None:
    judged(site, "1.1", scored(0.1))
    suspend(site)
    resume(site, DISCARDED)
    suspend(site, since=datetime(2026, 1, 1, tzinfo=UTC))
    resume(site, RELEASED)
    assert says(site, "1.1") == WITHHELD


def test_every_step_is_an_event_with_who_why_and_what_it_changed(site: Site) -> None:
    two_studies(site)
    suspend(site)
    activate(site, site.add_model("2"))
    resume(site, REQUEUED)
    rows = site.rows("SELECT event, who, why, detail FROM model_event WHERE detail IS NOT NULL ORDER BY id")
    assert [(row["event"], row["who"], row["why"]) for row in rows] == [
        ("SUSPENDED", ADA.who, ADA.why),
        ("REQUEUED", ADA.who, ADA.why),
    ]
    first, second = (json.loads(row["detail"]) for row in rows)
    assert first.pop("since") == second.pop("since")
    assert first == {"normal": 1, "pneumonia": 1, "withheld": 0, "other": 0}
    assert second == {"normal": 0, "pneumonia": 1, "withheld": 1, "other": 0, "batch": 1, "model": "test-2", "films": 2}


def test_a_suspension_is_shown_with_the_model_and_leaves_its_state(site: Site) -> None:
    suspend(site)
    with site.sessions() as session:
        (standing,) = bundles.standings(session)
        assert suspensions.suspended_models(session) == ["test-1"]
        assert figures.work(session, 1000).suspended_models == 1
    assert (standing.state.value, standing.who, standing.why) == ("ACTIVE", "test", "first")
    assert standing.suspended is not None
    assert (standing.suspended.who, standing.suspended.why) == (ADA.who, ADA.why)
    resume(site, RELEASED)
    with site.sessions() as session:
        assert bundles.standings(session)[0].suspended is None
        assert figures.work(session, 1000).suspended_models == 0


def test_every_normal_in_doubt_is_withheld_at_once_before_studies_are_answered_again(site: Site) -> None:
    two_studies(site)
    for number, flags in enumerate(((), (Reason.AGE_UNKNOWN,), (Reason.VIEW_UNKNOWN,)), start=3):
        judged(site, f"1.{number}", scored(0.1, flags=flags))
    in_transaction(site.sessions, lambda session: suspensions.suspend(session, site.model_id, ADA))
    assert in_transaction(site.sessions, withholding.withhold) == 4
    at_once = {study: says(site, study) for study in ("1.1", "1.3", "1.4", "1.5")}
    assert {study: (*words, sorted(flags)) for study, (*words, flags) in at_once.items()} == {
        "1.1": WITHHELD,
        "1.3": WITHHELD,
        "1.4": (*WITHHELD[:3], ["AGE_UNKNOWN", SUSPENDED]),
        "1.5": (*WITHHELD[:3], [SUSPENDED, "VIEW_UNKNOWN"]),
    }
    assert in_transaction(site.sessions, withholding.withhold) == 0
    follow(site)
    assert says(site, "1.5") == (*WITHHELD[:3], [SUSPENDED, "VIEW_UNKNOWN"])
    assert says(site, "1.2") == FLAGGED


@ON_SQLITE
def test_the_dispatcher_goes_on_where_the_command_was_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        judged(site, f"1.{number}", scored(0.1))
    monkeypatch.setattr(withholding, "STEP", 2)
    in_transaction(site.sessions, lambda session: suspensions.suspend(session, site.model_id, ADA))
    left = [in_transaction(site.sessions, withholding.follow) for _ in range(2)]
    assert left == [3, 1], "in parts, the newest first"
    assert [says(site, f"1.{number}") for number in range(5)] == [NORMAL, *[WITHHELD] * 4]
    assert in_transaction(site.sessions, withholding.follow) == 0
    assert says(site, "1.0") == WITHHELD
    assert in_transaction(site.sessions, withholding.follow) is None
