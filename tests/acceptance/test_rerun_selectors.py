"""Which studies a re-run takes, that it can leave the worklist alone, and that live workers do it where there are any."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.helpers_bundle import second_bundle
from tests.support.running import Site
from tests.support.studies import chest_film
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

FILMS = 6
ADULT = "045Y"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Six children of six days and one adult, who is refused; taken in in two goes, and no worker runs."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-select-", dir="/tmp"))
    site = Site(folder / "home", {"AUSCULT_MODELS_DIR": str(folder / "models"), "AUSCULT_MODEL": "notebook-1"})
    films = [
        chest_film(number / FILMS, AccessionNumber=f"A{number}", StudyDate=f"2024010{number + 1}")
        for number in range(FILMS)
    ]
    films.append(chest_film(AccessionNumber="ADULT", PatientAge=ADULT, StudyDate="20240201"))
    for number, group in enumerate((films[:2], films[2:])):
        incoming = folder / f"incoming-{number}"
        incoming.mkdir()
        for film in group:
            film.save_as(incoming / f"{film.AccessionNumber}.dcm")
        site.run("ingest", incoming)
        # Selectors count in seconds: the next group comes in another one.
        _until_the_next_second()
    second_bundle(folder / "models")
    yield site
    shutil.rmtree(folder, ignore_errors=True)


def _until_the_next_second() -> None:
    second = int(time.time())
    wait_until(lambda: int(time.time()) > second, 5, "the next second")


@pytest.fixture(scope="module")
def studies(site: Site) -> dict[str, Mapping[str, Any]]:
    """The worklist as it was in the beginning, by accession number."""
    found = {row["accession_number"]: row for row in site.json("worklist")}
    assert len(found) == FILMS + 1
    return found


def selected(site: Site, *selector: str) -> int:
    """How many studies the re-run would take."""
    return int(site.json("rerun", "--dry-run", *selector)["studies"])


def test_every_selector_names_the_studies_it_says(site: Site, studies: dict[str, Mapping[str, Any]]) -> None:
    children = [row for name, row in studies.items() if name != "ADULT"]
    labels = Counter(row["label"] for row in children)
    label = labels.most_common(1)[0][0]
    # The second group came in a later second than the first.
    border = min(datetime.fromisoformat(studies[f"A{number}"]["received_at"]) for number in range(2, FILMS))
    border = border.replace(microsecond=0, tzinfo=None)
    before, after = f"{border - timedelta(days=1):%Y-%m-%dT%H:%M:%S}", f"{border:%Y-%m-%dT%H:%M:%S}"
    two = (studies["A1"]["study_uid"], studies["A4"]["study_uid"])
    cases: dict[tuple[str, ...], int] = {
        ("--study", two[0], "--study", two[1]): 2,
        ("--received-from", before, "--received-to", after): 2,
        ("--study-date-from", "2024-01-02", "--study-date-to", "2024-01-04", "--label", label): sum(
            studies[f"A{number}"]["label"] == label for number in (1, 2, 3)
        ),
        ("--state", "not_applicable", "--accession", "ADULT", "--accession", "A0"): 1,
        ("--scored-by", "notebook-1", "--accession", "A3", "--outcome", "ok"): 1,
    }
    assert {case: selected(site, *case) for case in cases} == cases
    assert site.query("SELECT id FROM batch") == []


def test_a_rerun_without_a_selector_is_wrong_usage(site: Site) -> None:
    done = site.run("rerun", "--model", "notebook-2", check=2)
    assert "--all" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_model_than_the_active_one_answers_only_where_that_is_confirmed(site: Site) -> None:
    call = ("rerun", "--accession", "A1", "--model", "notebook-2", "--make-current")
    done = site.run(*call, check=2)
    assert "the worklist's answers of 1 study (1 film) would come from notebook-2" in done.stderr
    assert "no longer from notebook-1: give --yes" in done.stderr
    assert "cannot be combined" in site.run(*call, "--keep-current", check=2).stderr
    assert site.query("SELECT id FROM batch") == []


def test_a_rerun_with_another_model_adds_results_and_leaves_the_worklist_as_it_was(
    site: Site, studies: dict[str, Mapping[str, Any]]
) -> None:
    accessions = ("--accession", "A0", "--accession", "A5")
    report = site.json("rerun", *accessions, "--model", "notebook-2", "--why", "no other model than the active one")
    assert report["keep_current"] is True
    assert [report[name] for name in ("total", "done", "failed", "open")] == [2, 2, 0, 0]
    added = site.query("SELECT * FROM result_history WHERE batch_id = :id", id=report["batch"])
    assert len(added) == 2
    for row in added:
        assert (bool(row["is_current"]), row["supersedes_result_id"], row["model_version"]) == (False, None, "2")
        assert row["previous_result_id"] is not None
    timeless = {"waiting_s", "priority_rank"}
    for row in site.json("worklist"):
        before = studies[row["accession_number"]]
        assert {name: row[name] for name in row.keys() - timeless} == {
            name: before[name] for name in before.keys() - timeless
        }


def test_live_workers_do_the_rerun_where_there_are_any(site: Site) -> None:
    with site.running("up") as up:
        wait_until(lambda: up.port and site.query("SELECT id FROM worker WHERE kind = 'celery'"), 90, "a live worker")
        call = ("rerun", "--all", "--model", "notebook-2", "--make-current", "--yes")
        report = site.json(*call, "--why", "through workers")
        tasks = site.query("SELECT id FROM task WHERE batch_id = :id", id=report["batch"])
        judged = [line for line in up.text().splitlines() if '"image judged"' in line]
    assert [report[name] for name in ("total", "done", "failed", "open")] == [FILMS + 1, FILMS + 1, 0, 0]
    assert len(tasks) == FILMS + 1
    for task in tasks:
        assert sum(f'"task": {task["id"]},' in line for line in judged) == 1, task
    results = site.query("SELECT * FROM result_history WHERE batch_id = :id", id=report["batch"])
    assert Counter(row["outcome"] for row in results) == {"OK": FILMS, "NOT_APPLICABLE": 1}
    assert all(row["is_current"] for row in results)
