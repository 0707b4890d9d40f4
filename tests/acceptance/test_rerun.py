"""A re-run adds results and overwrites none: with another model, with the originals gone, killed half-way, resumed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.helpers_bundle import second_bundle
from tests.support.running import Site
from tests.support.studies import chest_film
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from model.serving.bundle import Bundle

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

FILMS = 30
WHO, WHY = "dr.second", "new operating point"
SETTINGS = {"AUSCULT_LEASE_S": "3", "AUSCULT_MODEL": "notebook-1"}
HISTORY = "SELECT * FROM result_history ORDER BY result_id"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Reran:
    """A site before, in the middle of and after a re-run that was killed and started again."""

    site: Site
    bundle: Bundle
    first: Sequence[Mapping[str, Any]]
    preview: Mapping[str, Any]
    batches_after_preview: int
    done_when_killed: int
    report: Mapping[str, Any]

    def expected_label(self, row: Mapping[str, Any]) -> str:
        return "PNEUMONIA" if row["probability"] >= self.bundle.threshold else "NORMAL"

    @property
    def flipped(self) -> dict[str, tuple[str, str]]:
        """What must flip, by SOP Instance UID: label before and after."""
        pairs = {row["sop_uid"]: (row["label"], self.expected_label(row)) for row in self.first}
        return {sop_uid: pair for sop_uid, pair in pairs.items() if pair[0] != pair[1]}


def flipping_threshold(probabilities: Sequence[float]) -> float:
    """A threshold that gives the film nearest to one half, and what lies between, another label."""
    nearest = min(probabilities, key=lambda probability: abs(probability - 0.5))
    return (nearest + 1) / 2 if nearest >= 0.5 else nearest / 2


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def reran(request: pytest.FixtureRequest) -> Iterator[Reran]:
    folder = Path(tempfile.mkdtemp(prefix="auscult-rerun-", dir="/tmp"))
    site = Site(folder / "home", dict(SETTINGS))
    site.env["AUSCULT_MODELS_DIR"] = str(folder / "models")
    server = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    if server:
        site.env["AUSCULT_DATABASE_URL"] = server.create_database()
        site.run("migrate")
    yield rerun_killed_and_resumed(site, folder)
    if server:
        server.drop_database(site.database_url)
    shutil.rmtree(folder, ignore_errors=True)


def rerun_killed_and_resumed(site: Site, folder: Path) -> Reran:
    incoming = folder / "incoming"
    incoming.mkdir()
    for number in range(FILMS):
        chest_film(number / FILMS, AccessionNumber=f"A{number}").save_as(incoming / f"{number}.dcm")
    taken = site.json("ingest", incoming)
    assert (taken["registered"], taken["studies"]) == (FILMS, FILMS)
    first = site.query(HISTORY)
    assert [row["outcome"] for row in first] == ["OK"] * FILMS
    bundle = second_bundle(folder / "models", threshold=flipping_threshold([row["probability"] for row in first]))
    shutil.rmtree(site.home / "store")
    shutil.rmtree(incoming)
    call = ("rerun", "--all", "--model", bundle.label, "--who", WHO, "--why", WHY)
    preview = site.json(*call, "--make-current", "--dry-run")
    batches = len(site.query("SELECT id FROM batch"))
    with site.running(*call, "--make-current", "--yes", log="rerun.log") as running:
        done = stop_half_way(site, running.process.pid)
        running.kill()
    assert running.process.returncode == -signal.SIGKILL
    # Without a word about the mode: an open batch keeps the one it was begun with.
    return Reran(site, bundle, first, preview, batches, done, site.json(*call))


def stop_half_way(site: Site, pid: int) -> int:
    """Freeze the re-run when some of its tasks are done and others are not; returns how many are."""
    progress = "SELECT n_done, n_open FROM batch_progress WHERE n_done >= 3"
    wait_until(lambda: site.query(progress), 150, "the first tasks of the batch")
    os.kill(pid, signal.SIGSTOP)
    (row,) = site.query(progress)
    assert row["n_open"] > 0, row
    return int(row["n_done"])


def test_dry_run_says_how_much_and_writes_nothing(reran: Reran) -> None:
    asked = {"studies": FILMS, "images": FILMS, "model": reran.bundle.label, "keep_current": False}
    assert reran.preview == {"dry_run": True, **asked}
    assert reran.batches_after_preview == 0


def test_a_rerun_killed_half_way_goes_on_in_the_same_batch_and_its_counts_are_exact(reran: Reran) -> None:
    assert 3 <= reran.done_when_killed < FILMS
    report = reran.report
    assert (report["resumed"], report["keep_current"]) == (True, False)
    assert [report[name] for name in ("total", "done", "failed", "open")] == [FILMS, FILMS, 0, 0]
    (batch,) = reran.site.query("SELECT * FROM batch_progress")
    assert batch["batch_id"] == report["batch"]
    assert [batch[name] for name in ("n_tasks", "n_done", "n_failed", "n_cancelled", "n_open")] == [
        FILMS,
        FILMS,
        0,
        0,
        0,
    ]
    assert batch["closed_at"] is not None
    tasks = reran.site.query("SELECT image_id FROM task WHERE batch_id IS NOT NULL")
    assert len({task["image_id"] for task in tasks}) == len(tasks) == FILMS


def test_both_results_of_every_film_are_kept_and_one_of_them_is_current(reran: Reran) -> None:
    history = reran.site.query(HISTORY)
    # The rows from before are as they were, but for being current.
    assert [{**row, "is_current": None} for row in history[:FILMS]] == [
        {**row, "is_current": None} for row in reran.first
    ]
    assert not any(row["is_current"] for row in history[:FILMS])
    new = {row["sop_uid"]: row for row in history[FILMS:]}
    assert len(new) == len(history) - FILMS == FILMS
    for old in reran.first:
        row = new[old["sop_uid"]]
        assert row["is_current"]
        assert row["supersedes_result_id"] == row["previous_result_id"] == old["result_id"]
        assert (row["batch_id"], row["batch_who"], row["batch_why"]) == (reran.report["batch"], WHO, WHY)
        assert (row["model_name"], row["model_version"]) == ("notebook", "2")
        assert (row["previous_model_name"], row["previous_model_version"]) == ("notebook", "1")
        assert row["previous_label"] == old["label"]
        assert row["label"] == reran.expected_label(old)
        assert row["threshold"] == reran.bundle.threshold


def test_a_rerun_scores_the_stored_films_with_the_originals_gone(reran: Reran) -> None:
    assert not list((reran.site.home / "store").rglob("*.dcm"))
    history = reran.site.query(HISTORY)
    by_film = {row["sop_uid"]: row for row in reran.first}
    for row in history[FILMS:]:
        before = by_film[row["sop_uid"]]
        assert (row["outcome"], row["film_sha256"]) == ("OK", before["film_sha256"])
        assert abs(row["logit"] - before["logit"]) < 1e-4


def test_the_report_says_which_labels_flipped(reran: Reran) -> None:
    assert reran.flipped
    assert reran.report["flipped"] == len(reran.flipped)
    told = {flip["sop_uid"]: (flip["old_label"], flip["new_label"]) for flip in reran.report["flips"]}
    assert told == reran.flipped
    assert {(flip["old_model"], flip["new_model"]) for flip in reran.report["flips"]} == {("notebook-1", "notebook-2")}


def test_the_worklist_shows_the_labels_of_the_rerun(reran: Reran) -> None:
    worklist = reran.site.worklist()
    for row in reran.first:
        study = worklist[row["study_uid"]]
        assert (study["ai_status"], study["label"]) == ("FINAL", reran.expected_label(row))
        assert (study["model_version"], study["threshold"]) == ("2", reran.bundle.threshold)


def test_batch_list_and_show_tell_who_why_and_what_flipped(reran: Reran) -> None:
    (listed,) = reran.site.json("batch", "list")
    shown = reran.site.json("batch", "show", str(listed["batch_id"]))
    for told in (listed, shown):
        assert (told["who"], told["why"], told["model"]) == (WHO, WHY, reran.bundle.label)
        assert (told["n_tasks"], told["n_done"], told["n_open"]) == (FILMS, FILMS, 0)
    assert shown["selector"] == '{"all":true}'
    assert {flip["sop_uid"] for flip in shown["flips"]} == set(reran.flipped)
    assert reran.site.run("batch", "show", "999", check=2).stdout == ""
