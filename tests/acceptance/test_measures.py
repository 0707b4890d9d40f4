"""``auscult model evaluate`` and ``compare`` on real and on drawn films, by their command lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model.labels import Label
from model.statistics.evaluation import Evaluation
from tests.support.films import film, save
from tests.support.helpers_bundle import drawn_film, drawn_folder, second_bundle
from tests.support.scored import Elements
from tests.support.sites import new_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.running import Site

pytestmark = pytest.mark.acceptance

NOTICE = "Not a medical device. Not for diagnosis."


@pytest.fixture
def site() -> Iterator[Site]:
    with new_site() as found:
        yield found


@pytest.mark.data
def test_the_reference_network_is_right_on_14_of_the_16_validation_films(site, test_data, tmp_path):
    films, out = test_data / "chest_xray" / "val", tmp_path / "report"
    found = site.json("model", "evaluate", films, "--model", "notebook-1", "--out", out)
    evaluation = Evaluation.from_dict(found)
    assert evaluation.confusion == ((6, 2), (0, 8))
    assert evaluation.accuracy == 14 / 16
    assert evaluation.auc == pytest.approx(63 / 64)
    assert found["patients"] == 15
    assert {group["name"]: group["n"] for group in found["subgroups"] if group["division"] == "type"} == {
        "NORMAL2-IM": 8,
        "bacteria": 8,
    }
    assert [name.startswith("NORMAL/NORMAL2-IM-") for name in found["false_alarms"]] == [True, True]
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == found
    page = (out / "report.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.open == []
    assert sum(name == "img" for name, _ in elements.elements) == 2
    for words in ("14 of 16 films", "8 of 8 films", "6 of 8 films", NOTICE, f"auscult model evaluate {films}"):
        assert words in elements.text
    assert (out / "report.html").stat().st_mode & 0o077 == 0


@pytest.mark.data
def test_another_threshold_changes_what_is_called_and_not_how_films_are_ranked(site, test_data, tmp_path):
    second_bundle(tmp_path / "bundles", threshold=0.95)
    site.env["AUSCULT_MODELS_DIR"] = str(tmp_path / "bundles")
    films, out = test_data / "chest_xray" / "val", tmp_path / "report"
    done = site.run("model", "compare", "notebook-1", "notebook-2", films, "--out", out)
    assert NOTICE in done.stdout
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (found["first"]["label"], found["second"]["label"]) == ("notebook-1", "notebook-2")
    assert found["auc"]["difference"] == 0.0
    assert found["auc"]["p"] == 1.0
    assert (found["specificity"]["only_first"], found["specificity"]["only_second"]) == (0, 2)
    assert found["sensitivity"]["only_second"] == 0
    changed = [film["first"]["probability"] for film in found["disagreements"]]
    assert changed
    assert all(0.65 <= probability < 0.95 for probability in changed)
    assert Elements((out / "report.html").read_text(encoding="utf-8")).open == []


def listed(folder: Path) -> Path:
    """A list of drawn films, half of them DICOM files, one of them with a name that would like to be a script."""
    rows = ["path,label,patient,scanner"]
    for number in range(12):
        label = list(Label)[number % 2]
        greys = drawn_film(label, number, 160)
        if number < 6:
            name = save(film(greys), folder, f"film{number}.dcm").name
        else:
            name = "<script>alert(1)<&script>.png" if number == 6 else f"film{number}.png"
            Image.fromarray(greys).save(folder / name)
        rows.append(f"{name},{label},{number // 4},{'AB'[number % 3 == 0]}")
    (folder / "films.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "films.csv"


def test_a_list_of_dicom_files_and_pictures_is_measured_with_its_columns(site, tmp_path):
    films, out = listed(tmp_path), tmp_path / "report"
    done = site.run("model", "evaluate", films, "--out", out)
    assert NOTICE in done.stdout
    assert "12 films of 3 patients" in done.stdout
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (found["n"], found["patients"]) == (12, 3)
    scanners = {group["name"]: group for group in found["subgroups"] if group["division"] == "column scanner"}
    assert {name: group["n"] for name, group in scanners.items()} == {"A": 8, "B": 4}
    assert {film["file"] for film in found["films"]} >= {"film0.dcm", "film11.png", "<script>alert(1)<&script>.png"}
    assert {(film["rows"], film["columns"]) for film in found["films"]} == {(160, 160)}
    elements = Elements((out / "report.html").read_text(encoding="utf-8"))
    assert "script" not in {name for name, _ in elements.elements}


def test_the_same_films_as_pictures_and_as_dicom_get_the_same_figures(site, tmp_path):
    pictures = drawn_folder(tmp_path / "pictures", 3, 1)
    for label in Label:
        (tmp_path / "dicom" / label).mkdir(parents=True)
        for path in sorted((pictures / label).glob("*.png")):
            Image.fromarray(np.asarray(Image.open(path).resize((160, 160)))).save(path)
            save(film(np.asarray(Image.open(path))), tmp_path / "dicom" / label, f"{path.stem}.dcm")
    one, other = (site.json("model", "evaluate", tmp_path / kind) for kind in ("pictures", "dicom"))
    assert one["figures"] == other["figures"]
    assert [film["logit"] for film in one["films"]] == [film["logit"] for film in other["films"]]
    assert [film["film_sha256"] for film in one["films"]] == [film["film_sha256"] for film in other["films"]]


def test_a_row_of_a_report_joins_the_results_of_the_same_film_in_sql(site, tmp_path):
    films = listed(tmp_path)
    site.json("ingest", *sorted(tmp_path.glob("*.dcm")))
    judged = {row["film_sha256"]: row for row in site.query("SELECT * FROM result_history") if row["outcome"] == "OK"}
    found = {film["film_sha256"]: film for film in site.json("model", "evaluate", films)["films"]}
    joined = judged.keys() & found.keys()
    assert len(joined) == len(judged) == 6
    assert all(judged[digest]["logit"] == pytest.approx(found[digest]["logit"]) for digest in joined)


def test_films_that_cannot_be_read_end_it_with_one_line_and_no_report(site, tmp_path):
    (tmp_path / "a.dcm").write_text("words")
    (tmp_path / "films.csv").write_text("path,label\na.dcm,NORMAL\n", encoding="utf-8")
    out = tmp_path / "report"
    done = site.run("model", "evaluate", tmp_path / "films.csv", "--out", out, check=2)
    assert "a.dcm cannot be read as a film" in done.stderr
    assert not out.exists()
