"""`auscult drift` on the command line: on a site of a bundle that ships, with months of films."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support.database import Site, open_site, scored
from tests.support.days import PastFilms, days_ago, write_days
from tests.support.running import Site as Commands
from worker.cli.command import app
from worker.database import open_database
from worker.models.active import ensure_active_model
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

NOTICE = "Not a medical device. Not for diagnosis."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder in which auscult-2 judged films of two rooms for twelve weeks; ROOM2 has more pneumonia in the last four."""
    folder = tmp_path_factory.mktemp("drift") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUSCULT_HOME", str(folder))
        patch.setenv("AUSCULT_MODEL", "auscult-2")
        settings = load_settings()
        database = open_database(settings)
        ensure_active_model(settings, database)
        database.dispose()
        with open_site(f"sqlite:///{folder / 'auscult.db'}") as site:
            _fill(site)
        yield folder


def _fill(site: Site) -> None:
    site.change("UPDATE model_event SET at = '2020-01-01 00:00:00.000000'")
    entry = site.receive("1.2.3", "1.2.3.1", manufacturer="ACME", device_model="DR 500", source="PACS1")
    site.finish(entry.task_id, scored(0.9))
    rng = np.random.default_rng(1)
    write_days(site, PastFilms(rng), days_ago(site.sessions, 84), 84)
    write_days(site, PastFilms(rng, station="ROOM2"), days_ago(site.sessions, 84), 56)
    write_days(site, PastFilms(rng, station="ROOM2", prevalence=0.75), days_ago(site.sessions, 28), 28)


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AUSCULT_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*arguments: str) -> Any:
        done = CliRunner().invoke(app, ["drift", *arguments])
        assert done.exit_code == 0, done.output
        return done

    return invoke


def test_a_process_of_its_own_counts_and_answers(home: Path) -> None:
    found = Commands(home).json("drift")
    assert (found["model"], found["source"], found["notice"]) == ("auscult-2", "LIVE", NOTICE)
    assert [group["device"] and group["device"]["station_name"] for group in found["groups"]] == [
        None,
        "ROOM1",
        "ROOM2",
    ]
    whole, first, second = found["groups"]
    assert first["verdict"] == "NO_CHANGE"
    assert (second["verdict"], second["because"]) == ("PREVALENCE", ["SCORE"])
    assert second["prevalence_change"]["low"] <= 0.45 <= second["prevalence_change"]["high"]
    assert second["measures"]["SCORE"]["psi"]["low"] > 0.1
    assert second["measures"]["SCORE"]["against_training"]["psi"] > 0
    assert second["films"] == second["reference_films"] == 28 * 20
    assert whole["films"] == first["films"] + second["films"]
    assert len(second["now"]) == len(second["reference"]) == 2


def test_a_person_reads_verdicts_measures_and_the_notice(run: Any) -> None:
    told = run().stdout
    assert "all devices" in told
    assert "ACME / DR 500 / ROOM2 / PACS1" in told
    assert "PREVALENCE" in told
    assert "SHARPNESS" in told
    assert NOTICE in told


def test_rows_for_a_spreadsheet_have_a_line_for_each_device(run: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--csv").stdout)))
    assert [row["device"] for row in rows][1:] == ["ACME / DR 500 / ROOM1 / PACS1", "ACME / DR 500 / ROOM2 / PACS1"]
    assert [row["verdict"] for row in rows][1:] == ["NO_CHANGE", "PREVALENCE"]


def test_one_device_is_asked_for_by_any_of_its_names_and_drawn(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "drift.png"
    found = json.loads(run("--device", "room2", "--plot", str(path), "--json").stdout)
    assert [group["device"]["station_name"] for group in found["groups"]] == ["ROOM2"]
    with Image.open(path) as picture:
        assert picture.size[0] > 1000


def test_a_later_reference_makes_what_came_then_the_measure(run: Any, home: Path) -> None:
    with open_site(f"sqlite:///{home / 'auscult.db'}") as site:
        since = days_ago(site.sessions, 28)
    found = json.loads(run("--since", since.isoformat(), "--json").stdout)
    assert found["since"] == since.isoformat()
    assert {group["verdict"] for group in found["groups"]} == {"TOO_FEW"}


def test_nothing_that_matches_and_a_model_that_is_unknown_are_said(run: Any) -> None:
    assert "no day with films" in run("--device", "nowhere").stderr
    done = CliRunner().invoke(app, ["drift", "--model", "nobody-1"])
    assert "nobody-1 has judged no film here" in str(done.exception)
