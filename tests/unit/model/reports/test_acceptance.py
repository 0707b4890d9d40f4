from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.acceptance.targets import Targets
from model.operating.calibration import Bands, Calibration
from model.reports.acceptance import render_acceptance
from model.reports.charts import histogram_chart
from model.statistics.curves import histogram
from tests.support.helpers_bundle import shipped_bundle
from tests.support.helpers_site import OCCASION, accepted, site_films
from tests.support.scored import PROVENANCE, Elements

NOTICE = "Not a medical device. Not for diagnosis."
SCRIPT = "<script>alert(1)</script>\"'&"


def rendered(
    shift: float, n: int = 120, *, targets: Targets | None = None, written: str | None = None, **changes: object
) -> Elements:
    bundle = replace(shipped_bundle(), calibration=Calibration(1.0, 0.0), threshold=0.5, bands=Bands(0.1, 0.9, {}))
    found = accepted(bundle, site_films(shift, n), targets, 0.15, replicates=60)
    return Elements(render_acceptance(found, replace(OCCASION, **changes), PROVENANCE, written))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def proven() -> Elements:
    return rendered(4.0, targets=Targets(0.8, 0.8), written="notebook-1.1")


def test_the_page_is_whole_and_has_everything_an_acceptance_asks_for(proven):
    assert proven.open == []
    for words in (
        NOTICE,
        "notebook-1 with the site's operating point (notebook-1.1): ACCEPTED",
        "The gain is proven",
        "240: 120 normal, 120 pneumonia, of 240 children",
        "dr.second, 2026-11-28T12:00Z",
        "yes, stated by dr.second",
        "Reliability after",
        "15.0 % (stated by the site)",
        "nothing about any other disease",
        "Within 2 points",
        "auscult model evaluate /films",
        "INTERMEDIATE",
    ):
        assert words in proven.text
    assert sum(name == "svg" for name, _ in proven.elements) == 4
    assert "Too few" not in proven.text


def test_both_operating_points_are_in_the_pictures(proven):
    dots = [attributes["class"] for name, attributes in proven.elements if name == "circle"]
    assert dots[:2] == ["normal", "pneumonia"]
    lines = [attributes.get("class") for name, attributes in proven.elements if name == "path"]
    assert "dashed" in lines
    assert "whisker" in lines


def test_the_scores_show_where_the_site_s_threshold_lies_beside_the_shipped_one():
    bins = histogram(np.array([0.0, 1.0]), np.array([0.2, 0.9]))
    one, both = histogram_chart(bins, 0.4), histogram_chart(bins, 0.4, 0.8)
    assert (one.count("dashed"), one.count("whisker")) == (1, 0)
    assert (both.count("dashed"), both.count("whisker")) == (1, 1)


def test_without_a_proven_gain_the_page_is_about_the_bundle_as_it_is():
    found = rendered(0.0, targets=Targets(0.999))
    assert "notebook-1 as it is: NOT ACCEPTED" in found.text
    assert "not proven, no bundle was written" in found.text
    assert "raise the figure" in found.text


def test_without_targets_there_is_no_verdict():
    found = rendered(0.0)
    assert "No targets were stated, so there is no verdict." in found.text
    assert "ACCEPTED" not in found.text


def test_too_few_films_and_films_of_the_training_are_said_loudly():
    found = rendered(0.0, 30, seen_in_training=7)
    assert "Too few films: 30 normal and 30 pneumonia, where 100 of each are asked for." in found.text
    assert "7 films were in the network's training data" in found.text
    notices = [attributes for name, attributes in found.elements if attributes.get("class") == "notice"]
    assert len(notices) == 4


def test_what_somebody_is_called_stays_text():
    found = rendered(0.0, 30, who=SCRIPT)
    assert "script" not in {name for name, _ in found.elements}
    assert SCRIPT in found.text
