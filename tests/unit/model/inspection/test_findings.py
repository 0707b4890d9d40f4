from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from model.data.dataset import read_picture, scan_folder
from model.data.listing import read_listing
from model.evaluation.provenance import Provenance
from model.inspection.duplicates import Likeness
from model.inspection.findings import ALL, KIND, Count, SplitSettings, count, inspect_films
from model.inspection.survey import survey
from model.reports.inspection import render_inspection
from tests.support.helpers_bundle import drawn_folder

if TYPE_CHECKING:
    from model.inspection.findings import Inspection

PLAN = SplitSettings(0.25, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Drawn films of twelve children a label; one of them twice, one under the other label, one broken."""
    films = drawn_folder(tmp_path / "films", patients=12)
    ill, well = films / "PNEUMONIA", films / "NORMAL"
    (ill / "person1_virus_3.png").write_bytes((ill / "person1_virus_1.png").read_bytes())
    with Image.open(well / "IM-0002-0001.png") as picture:
        picture.save(ill / "person99_virus_<b>.png", compress_level=0)
    (well / "IM-0003-0009.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return films


def inspected(folder: Path) -> Inspection:
    return inspect_films(survey(scan_folder(folder), scorer=lambda film: float(film.mean())), PLAN, "drawn-1")


def provenance(folder: Path) -> Provenance:
    return Provenance("auscult model data films", folder, "2026-01-01 00:00 UTC", "Auscult 0")


def test_films_are_counted_by_label_kind_child_and_column(tmp_path):
    rows = ["a,NORMAL,p1,A,1", "b,PNEUMONIA,p2,B,2", "c,PNEUMONIA,p2,B,3", "d,PNEUMONIA,p3,,4"]
    for row in rows:
        (tmp_path / row[0]).write_bytes(row.encode())
    (tmp_path / "films.csv").write_text("\n".join(["path,label,patient,ward,taken", *rows]))
    assert count(read_listing(tmp_path / "films.csv")) == (
        Count(ALL, "films", 1, 3, 3),
        Count(KIND, "NORMAL", 1, 0, 1),
        Count(KIND, "PNEUMONIA", 0, 3, 2),
        Count("ward", "(empty)", 0, 1, 1),
        Count("ward", "A", 1, 0, 1),
        Count("ward", "B", 0, 2, 1),
        Count("taken", "1", 1, 0, 1),
        Count("taken", "2", 0, 1, 1),
        Count("taken", "3", 0, 1, 1),
        Count("taken", "4", 0, 1, 1),
    )


def test_a_column_that_has_a_value_of_its_own_for_every_film_is_no_division(folder):
    rows = [
        f"{path.relative_to(folder)},{path.parent.name},{number}"
        for number, path in enumerate(sorted(folder.glob("*/*")))
    ]
    (folder / "films.csv").write_text("\n".join(["path,label,number", *rows]))
    assert {part.division for part in count(read_listing(folder / "films.csv"))} == {ALL, KIND}


def test_an_inspection_finds_what_is_wrong(folder):
    found = inspected(folder)
    assert found.counts[0] == Count(ALL, "films", 24, 26, 25)
    assert [film.picture.path.name for film in found.unreadable] == ["IM-0003-0009.png"]
    assert {picture for side in (found.split.train, found.split.validation) for picture in side} == {
        picture for picture in scan_folder(folder) if picture != found.unreadable[0].picture
    }
    same = [group for group in found.duplicates if group.likeness is not Likeness.NEAR]
    assert [(group.likeness, len(group.labels), group.patients) for group in same] == [
        (Likeness.FILE, 1, 1),
        (Likeness.PIXELS, 2, 2),
    ]


def test_the_document_is_plain_json_and_names_films_below_the_source(folder):
    found = inspected(folder)
    document = json.loads(json.dumps(found.as_dict(provenance(folder)), allow_nan=False))
    assert document["notice"] == "Not a medical device. Not for diagnosis."
    assert document["model"] == "drawn-1"
    assert document["unreadable"][0]["film"] == "NORMAL/IM-0003-0009.png"
    pixels = next(group for group in document["duplicates"] if group["likeness"] == "same pixels")
    assert pixels["films"] == ["NORMAL/IM-0002-0001.png", "PNEUMONIA/person99_virus_<b>.png"]
    assert pixels["labels"] == ["NORMAL", "PNEUMONIA"]
    brightness = next(probe for probe in document["probes"] if probe["name"] == "brightness")
    assert brightness["auc"] > 0.9
    assert brightness["correlations"]["NORMAL"] > 0.9
    assert document["split"] == {"share": 0.25, "seed": 3, "digest": found.split.digest}


def test_the_page_stands_alone_shows_duplicates_and_escapes_names(folder):
    page = render_inspection(inspected(folder), provenance(folder), read_picture)
    assert page.count("Not a medical device. Not for diagnosis.") >= 2
    assert "person99_virus_&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert "<h3>same pixels; both labels" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "cannot be read as a JPEG or PNG" in page
    assert page.count("data:image/png;base64,") >= 4
    assert page.count("<svg") > 10
    assert "Correlation, pneumonia" in page


def test_a_page_without_duplicates_or_network_says_so(tmp_path):
    pictures = scan_folder(drawn_folder(tmp_path / "films", patients=6, films_each=1))
    for number, picture in enumerate(pictures):
        # Each a picture of its own, or drawn films count as near copies.
        Image.effect_noise((64, 64), 20 + number).point(lambda grey, up=40 * picture.label.target: grey + up).save(
            picture.path
        )
    found = inspect_films(survey(pictures), PLAN)
    page = render_inspection(found, provenance(Path("films")), read_picture)
    assert "No film is there twice." in page
    assert "Unreadable" not in page
    assert "Correlation" not in page
