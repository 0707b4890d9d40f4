"""``auscult model data`` by its command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from model.labels import Label
from tests.support.films import film, save
from tests.support.helpers_bundle import drawn_film, drawn_folder
from tests.support.running import Site

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
NOTICE = "Not a medical device. Not for diagnosis."


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Drawn films, as large as serving asks for."""
    folder = drawn_folder(tmp_path / "films", patients=8)
    for path in folder.glob("*/*.png"):
        with Image.open(path) as picture:
            picture.resize((160, 160)).save(path)
    return folder


def test_a_folder_is_inspected_into_tables_and_a_report(auscult_home, films, tmp_path):
    out = tmp_path / "out"
    done = Site(auscult_home).run("model", "data", films, "--out", out)
    for words in ("kind of film", "black share", "More than one patient", str(out / "report.html"), NOTICE):
        assert words in done.stdout
    document = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert document["counts"][0] == {
        "division": "all films",
        "name": "films",
        "NORMAL": 16,
        "PNEUMONIA": 16,
        "patients": 16,
    }
    assert document["provenance"]["command"].startswith("auscult model data ")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert NOTICE in page
    assert (out / "report.html").stat().st_mode & 0o077 == 0


def test_a_list_of_dicom_films_is_inspected_with_a_network_and_what_is_broken_is_named(auscult_home, tmp_path):
    rows = ["path,label,patient,ward"]
    for label in Label:
        for child in range(6):
            name = f"{label.value}-{child}.dcm"
            save(film(drawn_film(label, child, size=160), SOPInstanceUID=f"1.2.3.{child}"), tmp_path, name)
            rows.append(f"{name},{label.value.lower()},{label.value[0]}{child},{'AB'[child % 2]}")
    (tmp_path / "broken.dcm").write_bytes(b"no film")
    (tmp_path / "films.csv").write_text("\n".join([*rows, "broken.dcm,normal,p9,A"]))
    done = Site(auscult_home).run("model", "data", tmp_path / "films.csv", "--model", "notebook-1", "--json", check=1)
    document = json.loads(done.stdout)
    assert [item["film"] for item in document["unreadable"]] == ["broken.dcm"]
    assert {"division": "ward", "name": "B", "NORMAL": 3, "PNEUMONIA": 3, "patients": 6} in document["counts"]
    assert document["model"] == "notebook-1"
    assert all(-1 <= value <= 1 for value in document["probes"][0]["correlations"].values())
    assert document["notice"] == NOTICE
    assert "p9" not in done.stdout  # no patient is named


@pytest.mark.parametrize(
    ("text", "words"),
    [("path,label\nabsent.dcm,NORMAL\n", "line 2: there is no such file"), (None, "cannot be read")],
)
def test_what_cannot_be_inspected_is_said_in_a_line(auscult_home, tmp_path, text, words):
    if text:
        (tmp_path / "films.csv").write_text(text)
    done = Site(auscult_home).run("model", "data", tmp_path / "films.csv", check=2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
