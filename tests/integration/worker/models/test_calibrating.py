"""`auscult model calibrate` by its command line: on drawn films, with a bundle that calls every one of them PNEUMONIA."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from typer.testing import CliRunner

from model.errors import BundleError
from model.labels import Label
from model.serving.bundle import find_bundle, load_bundle, write_derived
from model.serving.manifest import read_manifest
from tests.support.films import film, save
from tests.support.helpers_bundle import drawn_film, shipped_bundle
from tests.support.scored import Elements
from worker.cli.command import app
from worker.database import open_database
from worker.errors import UsageError
from worker.models import track_record as evidence
from worker.models.active import active_model, ensure_active_model
from worker.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from worker.settings import Settings

pytestmark = pytest.mark.integration

EACH = 12
NOTICE = "Not a medical device. Not for diagnosis."


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A site whose model's scores are all far too high."""
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AUSCULT_MODEL", "notebook-2")
    monkeypatch.chdir(tmp_path)
    found = load_settings()
    source = shipped_bundle()
    changes = {"version": "2", "calibration": {"slope": 1.0, "intercept": 30.0}}
    write_derived(source, found.models / "notebook-2", {**read_manifest(source.path), **changes}, "# A card\n")
    return found


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """A list of drawn films, some of them DICOM files, two of each child."""
    rows = ["path,label,patient,blinded"]
    for number in range(2 * EACH):
        label = list(Label)[number % 2]
        greys = drawn_film(label, number, 160)
        if number < 4:
            name = save(film(greys), tmp_path, f"film{number}.dcm").name
        else:
            name = f"film{number}.png"
            Image.fromarray(greys).save(tmp_path / name)
        rows.append(f"{name},{label},{label}{number // 4},yes")
    path = tmp_path / "films.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def run(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["model", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def test_a_site_calibrates_writes_its_page_and_lets_the_new_version_answer(settings, listing, tmp_path):
    done = run("calibrate", "notebook-2", listing, "--allow-few", "--who", "dr.second", "--min-specificity", ".6")
    assert "ACCEPTED, with the site's operating point" in done.output
    assert NOTICE in done.output
    page = Elements((tmp_path / "calibration-notebook-2" / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert "Too few films: 12 normal and 12 pneumonia" in page.text
    document = json.loads((tmp_path / "calibration-notebook-2" / "report.json").read_text(encoding="utf-8"))
    assert (document["report"], document["notice"], document["written"]) == ("acceptance", NOTICE, "notebook-2.1")
    assert document["before"]["specificity"]["value"] == 0
    assert document["after"]["specificity"]["value"] == 1
    assert len(document["films"]) == 2 * EACH
    children = {film["patient"] for film in document["films"]}
    assert len({(film["patient"], film["fold"]) for film in document["films"]}) == len(children) == EACH

    made = find_bundle("notebook-2.1", [settings.models])
    assert made.site is not None
    assert (made.site["who"], made.site["films_digest"]) == ("dr.second", document["occasion"]["films_digest"])
    (kept,) = evidence.on_record(settings, made)
    assert (kept.films_sha256, kept.specificity) == (document["occasion"]["films_digest"], 1.0)
    database = open_database(settings)
    try:
        ensure_active_model(settings, database)
        assert evidence.against(settings, database, made) == []
        run("shadow", "notebook-2.1", "--why", "look first")
        run("shadow", "--off")
        run("activate", "notebook-2.1", "--why", "calibrated")
        assert active_model(settings, database) == "notebook-2.1"
        run("activate", "notebook-2", "--why", "taken back", "--yes")
        assert active_model(settings, database) == "notebook-2"
    finally:
        database.dispose()
    assert "Calibrated on a site's films" in run("show", "notebook-2.1").output

    run("export", "notebook-2.1", tmp_path / "site.zip")
    moved = tmp_path / "other"
    imported = CliRunner(env={"AUSCULT_HOME": str(moved)}).invoke(app, ["model", "import", str(tmp_path / "site.zip")])
    assert imported.exit_code == 0, imported.output
    taken = load_bundle(moved / "models" / "notebook-2.1")
    assert (taken.site, taken.digest) == (made.site, made.digest)


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_a_site_version_is_verified_like_any_other(listing):
    run("calibrate", "notebook-2", listing, "--allow-few", "--version", "7", "--json")
    found = json.loads(run("verify", "notebook-7", "--json").stdout)
    assert (found["bundle"], found["equal"], found["engines"]) == ("notebook-7", True, ["litert", "keras"])


def test_targets_that_the_lower_bound_misses_end_it_with_1_and_speak_against_the_version(settings, listing, tmp_path):
    done = run(
        "calibrate",
        "notebook-2",
        listing,
        "--allow-few",
        "--min-sensitivity",
        ".95",
        "--json",
        "--out",
        tmp_path / "out",
        code=1,
    )
    document = json.loads(done.stdout)
    assert document["after"]["sensitivity"]["value"] == 1
    assert (document["verdict"], document["written"]) == ("NOT ACCEPTED", "notebook-2.1")
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == document
    database = open_database(settings)
    try:
        ensure_active_model(settings, database)
        doubts = evidence.against(settings, database, find_bundle("notebook-2.1", [settings.models]))
        assert doubts == ["when it was calibrated it did not reach the targets that the site stated"]
    finally:
        database.dispose()


def test_a_version_measured_on_the_films_that_it_was_fitted_on_is_no_evidence(settings, listing):
    run("calibrate", "notebook-2", listing, "--allow-few", "--json")
    made = find_bundle("notebook-2.1", [settings.models])
    kept = evidence.on_record(settings, made)
    assert "fitted to these films" in run("evaluate", listing, "--model", "notebook-2.1", "--json").stderr
    assert evidence.on_record(settings, made) == kept


def test_a_model_that_is_right_stays_as_it_is(settings, listing, tmp_path):
    document = json.loads(run("calibrate", "notebook-1", listing, "--allow-few", "--json").stdout)
    assert (document["proven"], document["written"], document["verdict"]) == (False, None, None)
    assert [path.name for path in settings.models.iterdir()] == ["notebook-2"]
    assert not (tmp_path / "calibration-notebook-1").exists()
    rows = run("calibrate", "notebook-1", listing, "--allow-few", "--csv").stdout.splitlines()
    assert rows[0].startswith("figure,before,before_by_patient")
    assert len(rows) == 7


def test_a_prevalence_is_restated_and_moves_no_operating_point(settings, listing):
    one = json.loads(run("calibrate", "notebook-2", listing, "--allow-few", "--json").stdout)
    other = json.loads(run("calibrate", "notebook-2", listing, "--allow-few", "--prevalence", ".03", "--json").stdout)
    assert one["site"] == other["site"]
    assert {row["prevalence"] for row in other["predictive_values"]} == {0.03, 0.05, 0.1, 0.2, 0.5}
    made = [find_bundle(label, [settings.models]) for label in ("notebook-2.1", "notebook-2.2")]
    assert [bundle.site and bundle.site["prevalence"] for bundle in made] == [None, 0.03]
    assert made[0].digest == made[1].digest


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--version", "2"), r"notebook-2 exists already: raise the version"),
        (("--version", "new"), "a small word and its version a number"),
        (("--min-sensitivity", "95"), "a share between 0 and 1"),
        (("--prevalence", "0"), "a share between 0 and 1"),
    ],
)
def test_what_cannot_be_done_ends_it_before_a_film_is_judged(listing, arguments, message):
    done = CliRunner().invoke(app, ["model", "calibrate", "notebook-2", str(listing), "--allow-few", *arguments])
    assert isinstance(done.exception, UsageError | BundleError)
    assert re.search(message, str(done.exception))


@pytest.mark.usefixtures("settings")
def test_few_films_need_leave(listing):
    done = CliRunner().invoke(app, ["model", "calibrate", "notebook-2", str(listing)])
    assert isinstance(done.exception, UsageError)
    assert "12 normal and 12 pneumonia films, and a calibration needs 100 of each" in str(done.exception)


@pytest.mark.usefixtures("settings")
def test_nobody_who_vouches_that_labels_were_blinded_ends_it(listing):
    text = listing.read_text(encoding="utf-8").replace(",blinded", "").replace(",yes", "")
    listing.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["model", "calibrate", "notebook-2", str(listing), "--allow-few"])
    assert isinstance(done.exception, UsageError)
    assert "state it by --blinded" in str(done.exception)
    document = json.loads(
        run("calibrate", "notebook-2", listing, "--allow-few", "--blinded", "--who", "dr.second", "--json").stdout
    )
    assert document["occasion"]["blinded"] == "yes, stated by dr.second"
