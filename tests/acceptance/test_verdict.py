"""A reader's verdicts from the command line, and their labels as a list on which a network is measured."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.films import save
from tests.support.sites import new_site
from tests.support.studies import chest_film

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.acceptance


def test_verdicts_become_a_list_that_evaluate_takes(tmp_path: Path) -> None:
    films = [
        chest_film(opacity, AccessionNumber=f"A{number}", StationName="R1")
        for number, opacity in enumerate((0, 0.5, 1))
    ]
    folder = tmp_path / "films"
    folder.mkdir()
    for number, ds in enumerate(films):
        save(ds, folder, f"{number}.dcm")
    with new_site() as site:
        site.run("ingest", folder)
        answers = {row["accession_number"]: row["label"] for row in site.json("worklist")}
        assert set(answers.values()) <= {"NORMAL", "PNEUMONIA"}
        other = {"NORMAL": "PNEUMONIA", "PNEUMONIA": "NORMAL"}
        site.run("assess", "A0", "--agree", "--who", "lee")
        site.run("assess", "A1", "--disagree", "--label", other[answers["A1"]], "--blinded")
        site.run("assess", "A2", "--label", answers["A2"].lower())
        assert site.run("assess", "A2", "--agree", "--label", other[answers["A2"]], check=2).stdout == ""
        assert site.run("assess", "A7", check=2).stdout == ""
        verdicts = {row["accession_number"]: row["verdict"] for row in site.json("worklist")}
        assert verdicts == {"A0": "AGREE", "A1": "DISAGREE", "A2": "AGREE"}
        (whole,) = [row for row in site.json("agreement", "show") if row["by_what"] == "MODEL"]
        assert (whole["n"], whole["n_agree"]) == (3, 2)
        listed = _exported(site, tmp_path / "all.csv")
        assert sorted(row["label"] for row in listed) == sorted([answers["A0"], other[answers["A1"]], answers["A2"]])
        assert {row["station_name"] for row in listed} == {"R1"}
        assert (tmp_path / "all.csv").stat().st_mode & 0o077 == 0
        assert len(_exported(site, tmp_path / "wrong.csv", "--disagreements")) == 1
        assert [row["blinded"] for row in _exported(site, tmp_path / "blind.csv", "--blinded")] == ["yes"]
        if len({row["label"] for row in listed}) == 2:
            found = site.json("model", "evaluate", tmp_path / "all.csv")
            assert len(found["films"]) == 3
        acts = [event["act"] for event in site.json("audit", "list")]
        assert acts.count("VERDICT_GIVEN") == 3
        assert acts.count("STUDIES_EXPORTED") >= 2
        describe = json.loads(site.run("sql", "describe", "worklist_v3", "--json").stdout)
        assert describe[0]["column"] == "study_uid"


def _exported(site, path: Path, *options: str) -> list[dict[str, str]]:
    site.run("agreement", "export", path, *options)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
