from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model.acceptance.site_version import next_version, write_site_version
from model.acceptance.targets import Targets
from model.errors import BundleError
from model.labels import Band
from model.operating.calibration import Bands, Calibration
from model.serving.bundle import Bundle, derive, load_bundle
from model.serving.manifest import read_manifest
from model.serving.restate import restate
from tests.support.helpers_bundle import bundle_by_hand
from tests.support.helpers_site import OCCASION, accepted, site_films

if TYPE_CHECKING:
    from pathlib import Path

NOTICE = "Not a medical device. Not for diagnosis."
BANDS = {"low": 0.1, "high": 0.9, "observed": {"LOW": {"films": 3, "pneumonia": 1, "rate_ci": [0.1, 0.8]}}}
BOUND = {"error": 0.01, "by": "child", "pneumonia": 90, "normal": 80}


KIND = {"kind": "IM", "label": "NORMAL", "films": 3, "right": 0.6667, "right_ci": [0.2, 0.9]}


def source_bundle(folder: Path) -> Bundle:
    """A bundle with calibration and bands, and a threshold of its own."""
    calibration = {"slope": 0.8, "intercept": 0.3}
    changes = {"threshold": 0.4, "calibration": calibration, "bands": {**BANDS, "bound": BOUND}, "kinds": [KIND]}
    return load_bundle(bundle_by_hand(folder / "hand-1", **changes))


def site_bundle(source: Bundle, folder: Path, version: str = "1.1", **stated: float) -> Bundle:
    """The source with a site's operating point, proven on films whose scores are all too high."""
    shift = 4.0 if not source.site else 9.0
    judged = site_films(shift)
    found = accepted(source, judged, Targets(**stated), 0.15)
    return write_site_version(source, folder / f"hand-{version}", version, found, judged, OCCASION)


def test_a_site_version_is_a_whole_bundle_with_an_operating_point_of_its_own(tmp_path):
    source = source_bundle(tmp_path)
    made = site_bundle(source, tmp_path)
    assert load_bundle(made.path) == made
    assert (made.label, made.derived_from, made.threshold) == ("hand-1.1", "hand-1", 0.5)
    assert isinstance(made.calibration, Calibration)
    assert made.calibration.slope == 0.8
    assert made.calibration.intercept == pytest.approx(-0.8 * 4, abs=0.8)
    assert made.weights_sha256 == source.weights_sha256
    assert made.digest != source.digest


def test_it_keeps_the_edges_of_the_bands_and_neither_bound_nor_counts_of_other_films(tmp_path):
    source = source_bundle(tmp_path)
    assert source.bands
    assert source.bands.bound
    made = site_bundle(source, tmp_path)
    assert made.bands == Bands(0.1, 0.9, {})
    assert made.bands.band(0.95) is Band.HIGH


def test_it_says_who_when_on_what_and_with_which_result(tmp_path):
    made = site_bundle(source_bundle(tmp_path), tmp_path, sensitivity=0.9, specificity=0.99)
    site = made.site
    assert site is not None
    assert {
        name: site[name] for name in ("who", "made_at", "films_digest", "blinded", "n", "children", "prevalence")
    } == {
        "who": "dr.second",
        "made_at": "2026-11-28T12:00Z",
        "films_digest": "ab" * 32,
        "blinded": "yes, stated by dr.second",
        "n": 240,
        "children": 240,
        "prevalence": 0.15,
    }
    assert (site["few"], site["verdict"]) == (False, "NOT ACCEPTED")
    assert site["targets"] == {"sensitivity": 0.9, "specificity": 0.99}
    assert site["before"]["specificity"]["value"] < site["after"]["specificity"]["value"]
    assert site["gain"]["by_patient"][0] > 0


def test_its_metrics_are_the_cross_fitted_figures_of_the_site(tmp_path):
    made = site_bundle(source_bundle(tmp_path), tmp_path)
    assert made.site is not None
    for name in ("sensitivity", "specificity", "accuracy"):
        assert getattr(made.metrics, name) == made.site["after"][name]["value"]
    assert (made.metrics.n, made.metrics.threshold, made.metrics.version) == (240, 0.5, "1.1")


def test_the_card_tells_the_site_s_figures_from_those_of_the_network(tmp_path):
    made = site_bundle(source_bundle(tmp_path), tmp_path)
    card = made.card_path.read_text(encoding="utf-8")
    site, network = card.split("# The network: the card of hand-1\n")
    assert card.startswith("# hand-1.1: hand-1 with a site's operating point\n")
    for words in (
        NOTICE,
        "By dr.second",
        "| Specificity |",
        "120 pneumonia",
        "15 % of such films",
        "not observed on this",
    ):
        assert words in site
    assert "## hand-1\n" in network
    assert "is at least 0.4 is called" in network
    assert "measured at the operating point of hand-1, not at" in network
    assert "1.1" not in network
    assert "| IM | NORMAL | 3 | 0.6667 |" in network
    assert "kinds" not in read_manifest(made.path)


def test_a_site_version_can_be_calibrated_again_and_still_names_its_network(tmp_path):
    source = source_bundle(tmp_path)
    second = site_bundle(site_bundle(source, tmp_path), tmp_path, "1.2")
    assert second.derived_from == "hand-1.1"
    assert second.site is not None
    assert second.site["network"]["version"] == "1"
    assert second.site["network"]["calibration"] == read_manifest(source.path)["calibration"]
    assert "# The network: the card of hand-1\n" in second.card_path.read_text(encoding="utf-8")


def test_the_next_version_is_the_first_that_is_free(tmp_path):
    source = source_bundle(tmp_path)
    made = site_bundle(source, tmp_path)
    assert next_version(source, {"hand-1"}) == "1.1"
    assert next_version(source, {"hand-1", "hand-1.1", "hand-1.2"}) == "1.3"
    assert next_version(made, {"hand-1", "hand-1.1"}) == "1.2"


def test_without_a_proven_gain_no_bundle_is_written(tmp_path):
    source, judged = source_bundle(tmp_path), site_films(-0.4)
    found = accepted(source, judged)
    with pytest.raises(BundleError, match="not proven"):
        write_site_version(source, tmp_path / "hand-1.1", "1.1", found, judged, OCCASION)
    assert not (tmp_path / "hand-1.1").exists()


def test_a_site_version_is_never_overwritten(tmp_path):
    source = source_bundle(tmp_path)
    site_bundle(source, tmp_path)
    with pytest.raises(BundleError, match="raise the version"):
        site_bundle(source, tmp_path)


def test_another_threshold_of_a_site_version_is_refused(tmp_path):
    made = site_bundle(source_bundle(tmp_path), tmp_path)
    with pytest.raises(BundleError, match="derive from the bundle it was made of"):
        derive(made, tmp_path / "hand-3", name="hand", version="3", threshold=0.6)


@pytest.mark.parametrize(
    "site",
    [
        {},
        [],
        {"network": {}},
        {"network": {}, "verdict": None, "films_digest": 1},
        {"network": {}, "verdict": "MAYBE", "films_digest": ""},
    ],
)
def test_a_site_record_that_is_not_whole_is_refused(tmp_path, site):
    with pytest.raises(BundleError, match="incomplete"):
        load_bundle(bundle_by_hand(tmp_path / "hand-1", site=site))


def test_the_card_of_a_site_version_is_not_written_again(tmp_path):
    made = site_bundle(source_bundle(tmp_path), tmp_path)
    with pytest.raises(BundleError, match="its card stays as it was written"):
        restate(made)
