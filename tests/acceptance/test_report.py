"""Pages to look at, by the command: a study in each of its states, and a period; on both databases."""

from __future__ import annotations

import base64
import io
import re
import stat
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from dicom_io.reasons import Reason
from model.notice import NOTICE
from tests.support.axe import violations
from tests.support.browser import SCHEMES, printed, shown
from tests.support.database import BOTH
from tests.support.devtools import browser
from tests.support.films import save
from tests.support.helpers_bundle import second_bundle
from tests.support.pages import Page, check_accessible, check_alone, read_page
from tests.support.sites import new_site
from tests.support.studies import chest_film

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset

    from tests.support.peers import Peers
    from tests.support.running import Site

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

#: Between the answers to the clearer and to the more opaque of the drawn films.
THRESHOLD = 0.9999998
#: What a header may hold, and a page must show as text.
STATION, PATIENT = "<b>R1</b>", 'P"><script>'


def films() -> dict[str, Dataset]:
    """A film each, by accession number."""
    broken = chest_film(0.2)
    broken.PixelData = broken.PixelData[: len(broken.PixelData) // 4]
    made = {
        "ILL": chest_film(0.1, StationName=STATION, PatientName="Doe^Jane"),
        "CLEAR": chest_film(0.0),
        "DOUBT": chest_film(0.0, PatientAge=""),
        "LATERAL": chest_film(0.1, ViewPosition="LL"),
        "BROKEN": broken,
    }
    for name, ds in made.items():
        ds.AccessionNumber = name
        ds.PatientID = PATIENT if name == "ILL" else f"P-{name}"
    return made


@pytest.fixture(scope="module", params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Five studies by a model whose threshold lies between two of them; no worker runs."""
    folder = tmp_path_factory.mktemp("films")
    second_bundle(folder / "models", version="3", threshold=THRESHOLD)
    (folder / "incoming").mkdir()
    for name, ds in films().items():
        save(ds, folder / "incoming", f"{name}.dcm")
    server = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    database = {"database_url": server.create_database()} if server else {}
    policy = "TEST_PATTERN=accept,INVERTED_PICTURE=accept,AGE_UNKNOWN=flag"
    with new_site(models_dir=str(folder / "models"), model="notebook-3", gate_policy=policy, **database) as site:
        if server:
            site.run("migrate")
        site.run("ingest", folder / "incoming", check=None)
        site.run("assess", "ILL", "--agree", "--who", "dr.lee")
        yield site
    if server:
        server.drop_database(database["database_url"])


def written(site: Site, folder: Path, *arguments: str) -> Page:
    """The page that a command writes: for its owner alone, accessible, and standing alone."""
    out = folder / "page.html"
    done = site.run("report", *arguments, "--out", out, "--force")
    assert NOTICE in done.stderr
    assert done.stdout == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    html = out.read_text(encoding="utf-8")
    page = read_page(html)
    check_accessible(page)
    check_alone(html, page)
    for part in page.all("header", "footer"):
        assert NOTICE in part.words
    return page


def exported(site: Site) -> list[str]:
    sql = "SELECT study_uid FROM audit WHERE act = 'STUDIES_EXPORTED' AND detail LIKE '%report%' ORDER BY event_id"
    return [str(row["study_uid"]) for row in site.query(sql)]


def test_an_answer_with_its_film_its_map_its_score_and_its_reader(site: Site, tmp_path: Path) -> None:
    page = written(site, tmp_path, "ILL")
    assert page.one("h1").words == "Pneumonia detected"
    row = next(row for row in site.worklist().values() if row["accession_number"] == "ILL")
    assert row["study_uid"] in page.one("head").words
    assert page.text.count(PATIENT) == 1
    assert PATIENT not in page.one("head").words
    assert STATION in page.text
    assert "Doe" not in page.text
    assert "Jane" not in page.text
    assert "agrees with the answer" in page.text
    assert "dr.lee" in page.text
    film, evidence = page.all("img")
    assert "as the model saw it" in str(film.attributes["alt"])
    assert "evidence" in str(evidence.attributes["alt"]) or "no line" in str(evidence.attributes["alt"])
    for picture, mode in ((film, "L"), (evidence, "RGB")):
        data = base64.b64decode(str(picture.attributes["src"]).partition(",")[2])
        shown = Image.open(io.BytesIO(data))
        assert (shown.mode, max(shown.size)) == (mode, 900)
    (scale,) = [svg for svg in page.all("svg") if "scale" in str(svg.attributes.get("aria-label"))]
    assert "PNEUMONIA from 1.000" in scale.words
    assert "notebook-3" in page.text
    assert exported(site)[-1] == row["study_uid"]


def test_a_negative_answer_says_that_its_name_is_no_reading(site: Site, tmp_path: Path) -> None:
    page = written(site, tmp_path, "CLEAR", "--no-heat-map")
    assert page.one("h1").words == "Pneumonia not detected"
    assert "It is no reading of the film" in page.text
    assert len(page.all("img")) == 1
    assert "not read yet" in page.text


def test_what_a_film_was_judged_in_spite_of_is_told_in_plain_words(site: Site, tmp_path: Path) -> None:
    page = written(site, tmp_path, "DOUBT", "--no-heat-map")
    assert "AGE_UNKNOWN" in page.text
    assert Reason.AGE_UNKNOWN.sentence in page.text


def test_a_browser_shows_it_on_light_and_dark_screens_and_prints_it(
    site: Site, chromium: Peers, tmp_path: Path
) -> None:
    written(site, tmp_path, "ILL", "--no-heat-map")
    page, size = tmp_path / "page.html", (1200, 1600)
    grounds = {"light": ((255, 255, 255), (156, 58, 0)), "dark": ((18, 22, 28), (255, 178, 125))}
    for scheme, (paper, headline) in grounds.items():
        seen = shown(chromium, page, tmp_path, scheme=scheme, size=size)
        assert seen.shape == (size[1], size[0], 3)
        assert tuple(seen[-1, 2]) == paper
        assert (seen == headline).all(axis=2).sum() > 1000, "the headline in the colour of its tone"
        grey = (seen == seen[..., :1]).all(axis=2)
        assert len(np.unique(seen[grey])) > 200, "the greys of the film"
    # A telephone: nothing is wider than the screen.
    narrow = shown(chromium, page, tmp_path, scheme="light", size=(500, 1600))
    assert (narrow[:, -8:] == 255).all()
    pdf = printed(chromium, page, tmp_path)
    assert pdf.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type ?/Page\b", pdf)) <= 4


def test_axe_finds_nothing_wrong_with_a_page_on_light_and_dark_screens(
    site: Site, chromium: Peers, tmp_path: Path
) -> None:
    found = {}
    with browser(chromium, tmp_path) as tab:
        for arguments in (["ILL"], ["CLEAR", "--no-heat-map"], ["DOUBT", "--no-heat-map"], ["LATERAL"], ["BROKEN"]):
            written(site, tmp_path, *arguments)
            for scheme in SCHEMES:
                found[arguments[0], scheme] = violations(tab, tmp_path / "page.html", scheme)
        written(site, tmp_path, "--since", "2020-01-01")
        for scheme in SCHEMES:
            found["a period", scheme] = violations(tab, tmp_path / "page.html", scheme)
    assert {where: what for where, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("name", "words", "reason", "tone"),
    [
        ("LATERAL", "No answer: not applicable", Reason.LATERAL_VIEW, "open"),
        ("BROKEN", "No answer: failed", Reason.DECODE_FAILED, "failed"),
    ],
)
def test_a_study_without_an_answer_is_told_as_clearly_as_one_with_one(
    site: Site, tmp_path: Path, name: str, words: str, reason: Reason, tone: str
) -> None:
    page = written(site, tmp_path, name)
    assert page.one("h1").words == words
    assert page.text.count(reason.sentence) >= 1
    assert [element for element in page.elements if element.attributes.get("class") == f"answer {tone}"]
    assert not page.all("img")
    assert "decides the answer" not in page.text
    assert "score" not in page.text.partition("Films")[0].lower()


def test_a_file_is_replaced_by_force_alone_and_a_command_names_a_study_or_a_period(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("kept", encoding="utf-8")
    before = len(exported(site))
    assert "or replace it by --force" in site.run("report", "ILL", "--out", out, check=2).stderr
    assert out.read_text(encoding="utf-8") == "kept"
    for wrong in ((), ("ILL", "--since", "2026-01-01"), ("ILL", "--until", "2026-01-01"), ("--until", "2026-01-01")):
        site.run("report", *wrong, "--out", tmp_path / "new.html", check=2)
    assert "no study matches" in site.run("report", "1.2.3", "--out", tmp_path / "new.html", check=2).stderr
    ended = site.run(
        "report", "--since", "2026-01-02", "--until", "2026-01-01", "--out", tmp_path / "new.html", check=2
    )
    assert "ends before it begins" in ended.stderr
    site.run("report", "ILL", "--out", tmp_path / "missing" / "new.html", check=2)
    assert not (tmp_path / "new.html").exists()
    assert len(exported(site)) == before


def test_a_period_before_everything_is_empty_and_says_so(site: Site, tmp_path: Path) -> None:
    page = written(site, tmp_path, "--since", "2020-01-01", "--until", "2020-01-02")
    assert page.one("h1").words == "0 studies"
    assert "No study of the period has an answer with a score." in page.text
    assert exported(site)[-1] == ""


def test_a_period_counts_and_names_what_flipped(site: Site, tmp_path: Path) -> None:
    site.run("rerun", "--accession", "CLEAR", "--model", "notebook-1", "--make-current", "--why", "a test", "--yes")
    page = written(site, tmp_path, "--since", "2020-01-01")
    assert page.one("h1").words == "5 studies"
    rows = cells(page)
    assert rows["FINAL"][-2:] == ["3", "60.0 %"]
    assert rows["FAILED"][-2:] == ["1", "20.0 %"]
    assert rows["NORMAL to PNEUMONIA"] == ["notebook-1", "1"]
    assert rows["CLEAR"][1] == "NORMAL"
    assert rows["LATERAL_VIEW"][-1] == "1"
    assert rows["DECODE_FAILED"][-1] == "1"
    assert any(name.endswith(STATION) for name in rows)
    assert rows["notebook-3"][0] == "1 of 1"
    assert {"50 %", "90 %", "95 %", "99 %", "all"} <= set(rows)
    (chart,) = [svg for svg in page.all("svg") if "Distribution" in str(svg.attributes.get("aria-label"))]
    assert chart.attributes["aria-label"] == "Distribution of the scores of 3 studies"
    assert "P-CLEAR" not in page.text
    flipped = next(row["study_uid"] for row in site.worklist().values() if row["accession_number"] == "CLEAR")
    assert exported(site)[-1] == flipped
    assert "notebook-1" in written(site, tmp_path, "CLEAR", "--no-heat-map").text


def cells(page: Page) -> dict[str, list[str]]:
    """The rows of every table, by their first cell."""
    rows: dict[str, list[str]] = {}
    name = ""
    for element in page.all("th", "td"):
        words = re.sub(r"\s+", " ", element.words.strip())
        if element.name == "th" and element.attributes["scope"] == "row":
            name = words
            rows[name] = []
        elif element.name == "td":
            rows[name].append(words)
    return rows


def test_a_withheld_answer_says_why(site: Site, tmp_path: Path) -> None:
    site.run("model", "suspend", "notebook-3", "--why", "a test", "--yes")
    page = written(site, tmp_path, "DOUBT")
    assert page.one("h1").words == "No answer: withheld"
    assert Reason.MODEL_SUSPENDED.sentence in page.text
    doubtful = written(site, tmp_path, "ILL", "--no-heat-map")
    assert doubtful.one("h1").words == "Pneumonia detected"
    assert "This answer is in doubt" in doubtful.text
