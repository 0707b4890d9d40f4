"""Models at a site that runs: activated without a restart, shadowed without a trace in the worklist, retired, exchanged."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.database import MOVING
from tests.support.helpers_bundle import second_bundle
from tests.support.redis_server import own_redis
from tests.support.running import command
from tests.support.sites import new_site
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.postgres import ExternalPostgres, PostgresServer
    from tests.support.running import Running, Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

#: The active model at first, of which the others are made.
FIRST = "notebook-1"
WHO, WHY = "dr.second", "the audit said so"
SHADOWED = "SELECT * FROM shadow_comparison ORDER BY created_at"
EVENTS = (
    "SELECT name || '-' || version AS model, event, who, why FROM model_event JOIN model ON model.id = model_id "
    "ORDER BY model_event.id"
)
USAGE = 2


@pytest.fixture(scope="module")
def stack(postgres_server: PostgresServer | ExternalPostgres) -> Iterator[Running]:
    """``auscult up`` on PostgreSQL with the bundles notebook-2 to notebook-4 at hand; all other sites here are embedded."""
    url = postgres_server.create_database()
    with own_redis() as redis, new_site(database_url=url, broker_url=redis.url, model=FIRST) as site:
        site.run("migrate")
        for version in ("2", "3", "4"):
            second_bundle(site.home / "models", version=version, threshold=0.2)
        with site.running("up") as running:
            assert running.port
            yield running
    postgres_server.drop_database(url)


def scored(running: Running, study_uid: str) -> Mapping[str, Any]:
    """The study's row, once it is FINAL."""

    def final() -> Mapping[str, Any] | None:
        row = running.site.worklist().get(study_uid)
        return row if row and row["ai_status"] == "FINAL" else None

    return wait_until(final, 120, f"{study_uid} to be FINAL")


def sent(running: Running, *opacities: float) -> list[Mapping[str, Any]]:
    """Push films, each a study of its own, and wait for their answers."""
    films = [chest_film(opacity) for opacity in opacities]
    push(films, running.port)
    return [scored(running, str(film.StudyInstanceUID)) for film in films]


def test_the_whole_life_of_models_without_a_restart(stack: Running) -> None:
    site = stack.site
    (row,) = sent(stack, 0.3)
    before = {process.pid for process in stack.descendants()}
    assert row["model_version"] == "1"
    first = ("notebook-1", "ACTIVATED", "auscult", "first start: no model was active")
    assert [tuple(event.values()) for event in site.query(EVENTS)] == [first]

    site.run("model", "activate", "notebook-2", "--who", WHO, "--why", WHY)
    (row,) = sent(stack, 0.4)
    assert (row["model_version"], row["threshold"]) == ("2", 0.2)
    assert [tuple(event.values()) for event in site.query(EVENTS)] == [
        first,
        ("notebook-1", "DEACTIVATED", WHO, WHY),
        ("notebook-2", "ACTIVATED", WHO, WHY),
    ]

    site.run("model", "shadow", "notebook-1", "--who", WHO, "--why", "is it still better?")
    rows = sent(stack, 0.0, 0.5, 1.0)
    assert {row["model_version"] for row in rows} == {"2"}
    compared = wait_until(lambda: _n_rows(site, 3), 120, "the shadow's results")
    assert {row["study_uid"] for row in compared} == {row["study_uid"] for row in rows}
    assert [abs(row["difference"]) < 1e-5 for row in compared] == [True] * 3, "the same network"
    assert {row["shadow_model_version"] for row in compared} == {"1"}
    (report,) = site.json("model", "shadow", "--report")["comparisons"]
    assert (report["active"], report["shadow"], report["films"]) == ("notebook-2", "notebook-1", 3)
    assert report["agree"] == sum(not row["disagrees"] for row in compared)

    listed = {item["bundle"]: item for item in site.json("model", "list")}
    assert {name: item["state"] for name, item in listed.items()} == {
        "auscult-1": "AVAILABLE",
        "auscult-2": "AVAILABLE",
        "notebook-1": "SHADOW",
        "notebook-2": "ACTIVE",
        "notebook-3": "AVAILABLE",
        "notebook-4": "AVAILABLE",
    }
    assert (listed["notebook-2"]["who"], listed["notebook-2"]["why"]) == (WHO, WHY)

    site.run("model", "activate", "notebook-1")
    (row,) = sent(stack, 0.6)
    assert row["model_version"] == "1"
    assert len(site.query(SHADOWED)) == 3, "the shadow ended when it became active"
    assert {process.pid for process in stack.descendants()} == before, "nothing was started anew"


def _n_rows(site: Site, n: int) -> list[dict[str, Any]] | None:
    rows = [dict(row) for row in site.query(SHADOWED)]
    return rows if len(rows) >= n else None


def test_a_shadow_without_its_bundle_waits_by_itself_and_no_study_hears_of_it(stack: Running) -> None:
    site = stack.site
    site.run("model", "shadow", "notebook-4")
    shutil.rmtree(site.home / "models" / "notebook-4")
    (row,) = sent(stack, 0.7)
    assert (row["ai_status"], row["reason"], row["n_scored"], row["revision"]) == ("FINAL", None, 1, 1)
    waits = "SELECT attempts FROM task WHERE state = 'PENDING' AND error_code = 'MODEL_UNAVAILABLE'"
    (task,) = wait_until(lambda: site.query(waits), 90, "the shadow's task to say what it waits for")
    assert task["attempts"] == 0
    assert site.worklist()[row["study_uid"]] == row
    site.run("model", "shadow", "--off")
    (gone,) = [item for item in site.json("model", "list") if item["bundle"] == "notebook-4"]
    assert (gone["state"], gone["path"]) == ("AVAILABLE", None)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number, opacity in enumerate((0.0, 0.3, 0.6, 1.0)):
        # Two studies of two films each.
        film = chest_film(opacity, StudyInstanceUID=f"1.2.3.{number // 2}", AccessionNumber=f"A{number // 2}")
        film.save_as(folder / f"{number}.dcm")
    chest_film(0.5, BodyPartExamined="HAND", StudyInstanceUID="1.2.3.9").save_as(folder / "hand.dcm")
    return folder


def test_the_worklist_with_a_shadow_is_row_for_row_the_one_without(films: Path) -> None:
    """Without any worker too: ``ingest`` gives the shadow its turn when the studies are done."""
    worklists = []
    for shadow in ("", "notebook-2"):
        with new_site(model=FIRST) as site:
            second_bundle(site.home / "models", threshold=0.2)
            if shadow:
                site.run("model", "shadow", shadow)
            site.run("ingest", films)
            found = site.query("SELECT * FROM worklist ORDER BY priority_rank")
            worklists.append([{**row, **dict.fromkeys(MOVING)} for row in found])
            assert len(site.query(SHADOWED)) == (5 if shadow else 0)
    assert worklists[0] == worklists[1]
    assert [row["ai_status"] for row in worklists[0]] == ["FINAL", "FINAL", "NOT_APPLICABLE"]


@pytest.fixture
def site() -> Iterator[Site]:
    with new_site(model=FIRST) as site:
        second_bundle(site.home / "models", threshold=0.2)
        yield site


def test_a_start_never_changes_the_model_and_says_how_to(site: Site, films: Path) -> None:
    site.run("model", "activate", "notebook-2", "--who", WHO, "--why", WHY)
    site.env["AUSCULT_MODEL"] = "notebook-1"
    done = site.run("ingest", films)
    assert "notebook-2 is the active model and stays so: run 'auscult model activate notebook-1'" in done.stderr
    assert {row["model_version"] for row in site.query("SELECT * FROM result_history")} == {"2"}
    site.env["AUSCULT_MODEL"] = "notebook-2"
    assert {row["version"] for row in site.json("classify", films / "0.dcm")} == {"2"}
    assert "AUSCULT_MODEL" not in site.run("ingest", films).stderr
    site.env["AUSCULT_MODEL"] = "notebook-new"  # the folder of a bundle, say
    assert "AUSCULT_MODEL names notebook-new, but notebook-2 is" in site.run("ingest", films).stderr


def test_a_site_whose_model_has_a_later_version_keeps_it_and_is_told(films: Path) -> None:
    with new_site(model="auscult-1") as site:
        site.run("ingest", films)
        assert "auscult-1 stays the active model; fresh sites start with auscult-2" in _ingested_unset(site, films)
        assert {row["model_version"] for row in site.query("SELECT * FROM result_history")} == {"1"}
        site.run("model", "activate", "auscult-2", "--yes")
        assert "stays the active model" not in _ingested_unset(site, films)


def _ingested_unset(site: Site, films: Path) -> str:
    """What an ingest says where no setting names a model."""
    environment = {name: value for name, value in site.environment.items() if name != "AUSCULT_MODEL"}
    done = subprocess.run(
        command("ingest", films), env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return done.stderr


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("activate", "nowhere-9"), "there is no model 'nowhere-9'"),
        (("retire", "notebook-1"), "notebook-1 is active and cannot be retired"),
        (("retire", "nowhere-9"), "there is no model 'nowhere-9'"),
        (("shadow", "notebook-1"), "a shadow is another model than the active one"),
        (("shadow", "--off"), "there is and was no shadow"),
        (("activate", "notebook-2"), "notebook-2 is retired"),
        (("export", "nowhere-9", "out.zip"), "there is no model 'nowhere-9'"),
        (("import", "nothing.zip"), "there is no nothing.zip"),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_why(site_with_a_history: Site, call: Any, words: str) -> None:
    done = site_with_a_history.run("model", *call, check=USAGE)
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert words in line


@pytest.fixture(scope="module")
def site_with_a_history() -> Iterator[Site]:
    """A site whose active model is notebook-1 and where notebook-2 is retired."""
    with new_site(model=FIRST) as site:
        second_bundle(site.home / "models", threshold=0.2)
        site.run("model", "activate", "notebook-1")
        site.run("model", "retire", "notebook-2", "--why", WHY)
        yield site


def test_a_retired_model_scores_no_rerun(site_with_a_history: Site) -> None:
    done = site_with_a_history.run("rerun", "--all", "--model", "notebook-2", check=USAGE)
    assert "notebook-2 is retired: take that back with 'auscult model retire --off' first" in done.stderr


def test_a_bundle_goes_to_another_site_and_is_active_there(site: Site, tmp_path: Path) -> None:
    site.run("model", "export", "notebook-2", tmp_path / "n.zip")
    with new_site(model=FIRST) as other:
        other.run("model", "import", tmp_path / "n.zip")
        other.run("model", "activate", "notebook-2")
        (active,) = [row for row in other.json("model", "list") if row["state"] == "ACTIVE"]
        assert active["path"] == str(other.home / "models" / "notebook-2")


@pytest.mark.slow
def test_verify_opens_both_engines_and_compares_them(site: Site) -> None:
    found = site.json("model", "verify", "notebook-2")
    assert (found["bundle"], found["equal"], found["engines"]) == ("notebook-2", True, ["litert", "keras"])
    assert found["notice"] == "Not a medical device. Not for diagnosis."
    weights = site.home / "models" / "notebook-2" / "model.keras"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = site.run("model", "verify", "notebook-2", check=USAGE)
    assert "model.keras is not the file the bundle was made with" in done.stderr
