"""axe finds nothing wrong with the reports of the model on screens of both schemes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from model.acceptance.targets import Targets
from model.data.dataset import read_picture, scan_folder
from model.evaluation.assessment import assess
from model.evaluation.compare import compare
from model.inspection.findings import SplitSettings, inspect_films
from model.inspection.survey import survey
from model.operating.calibration import Bands, Calibration
from model.reports.acceptance import render_acceptance
from model.reports.comparison import render_comparison
from model.reports.evaluation import render_report
from model.reports.inspection import render_inspection
from tests.support.axe import violations
from tests.support.browser import SCHEMES
from tests.support.devtools import browser
from tests.support.helpers_bundle import drawn_folder, shipped_bundle
from tests.support.helpers_site import OCCASION, accepted, site_films
from tests.support.scored import PROVENANCE, grey_film, some_films

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.integration


def pages(folder: Path) -> dict[str, str]:
    """Each kind of report, as HTML."""
    bundle, films = shipped_bundle(), some_films(20, 8, unlikeness=0.2)
    others = [replace(film, score=other.score) for film, other in zip(films, reversed(films), strict=True)]
    at_site = replace(bundle, calibration=Calibration(1.0, 0.0), threshold=0.5, bands=Bands(0.1, 0.9, {}))
    proven = accepted(at_site, site_films(4.0, 120), Targets(0.8, 0.8), 0.15, replicates=60)
    surveyed = survey(scan_folder(drawn_folder(folder / "films", patients=6, films_each=2)))
    return {
        "evaluation": render_report(assess(bundle, films, replicates=60), PROVENANCE, grey_film),
        "comparison": render_comparison(
            compare((bundle, bundle), (films, others), replicates=60), PROVENANCE, grey_film
        ),
        "acceptance": render_acceptance(proven, OCCASION, PROVENANCE, "notebook-1.1"),
        "inspection": render_inspection(inspect_films(surveyed, SplitSettings(0.25, 3)), PROVENANCE, read_picture),
    }


def test_axe_finds_nothing_wrong_with_any_report(chromium: Peers, tmp_path: Path) -> None:
    found = {}
    with browser(chromium, tmp_path) as tab:
        for name, html in pages(tmp_path).items():
            page = tmp_path / f"{name}.html"
            page.write_text(html, encoding="utf-8")
            for scheme in SCHEMES:
                found[name, scheme] = violations(tab, page, scheme)
    assert {where: what for where, what in found.items() if what} == {}


def test_axe_finds_what_is_wrong(chromium: Peers, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<p style="color: #bbb; background: #fff">pale <img src="data:,"></p>' * 3, encoding="utf-8")
    with browser(chromium, tmp_path) as tab:
        found = {each.partition(":")[0] for each in violations(tab, page, "light", least_rules=0)}
    assert {"html-has-lang", "document-title", "image-alt", "color-contrast"} <= found
