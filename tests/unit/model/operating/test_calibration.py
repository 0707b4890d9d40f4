from __future__ import annotations

import json

import numpy as np
import pytest

from model.augmentation.perturb import Role
from model.errors import DataError
from model.labels import Band
from model.operating.calibration import (
    MAX_ERROR,
    UNCALIBRATED,
    Bands,
    Calibration,
    fit_bands,
    fit_calibration,
    threshold_of,
)
from model.serving.bundle import builtin_folder, find_bundle, stressed_of
from model.statistics.intervals import wilson
from model.statistics.sigmoid import sigmoid


def answers(n: int = 600, seed: int = 11, positive: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Targets and overlapping probabilities."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < positive).astype(float)
    return targets, sigmoid(rng.normal(np.where(targets == 1, 1.6, -1.6), 1.2))


def sensitivity(targets: np.ndarray, probabilities: np.ndarray, threshold: float) -> float:
    return float((probabilities[targets == 1] >= threshold).mean())


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, 0.0), (1.0, 0.0), (1.7, -2.5), (0.05, 1.0)])
def test_a_known_slope_and_intercept_are_recovered(slope, intercept):
    rng = np.random.default_rng(2)
    # Logits that spread alike on the calibrated scale, from a place where both labels are as frequent.
    calibrated = rng.normal(0, 2, 40_000)
    targets = (rng.random(len(calibrated)) < sigmoid(calibrated)).astype(float)
    found = fit_calibration(targets, (calibrated - intercept) / slope)
    assert found.slope == pytest.approx(slope, rel=0.05)
    assert found.intercept == pytest.approx(intercept, abs=0.1)


def test_the_share_of_pneumonia_among_the_films_does_not_matter():
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, 60_000)
    targets = (rng.random(len(logits)) < sigmoid(1.3 * logits + 0.4)).astype(float)
    half = targets.mean()
    # Most normal films are gone: pneumonia is three quarters.
    kept = (targets == 1) | (rng.random(len(targets)) < half / (1 - half) / 3)
    assert targets[kept].mean() == pytest.approx(0.75, abs=0.01)
    few, all_films = fit_calibration(targets[kept], logits[kept]), fit_calibration(targets, logits)
    assert few.slope == pytest.approx(all_films.slope, rel=0.05)
    assert few.intercept == pytest.approx(all_films.intercept, abs=0.05)


def test_a_probability_keeps_the_order_of_logits_and_never_overflows():
    calibration = Calibration(2.0, -1.0)
    found = calibration.probabilities(np.array([-1e6, -1.0, 0.5, 1.0, 1e6]))
    assert found == pytest.approx([0.0, 1 / (1 + np.exp(3)), 0.5, 1 / (1 + np.exp(-1)), 1.0])
    assert UNCALIBRATED.probabilities(np.array(0.3)) == pytest.approx(1 / (1 + np.exp(-0.3)))
    assert Calibration(**json.loads(json.dumps(calibration.as_dict()))) == calibration


def test_logits_that_fall_with_pneumonia_or_say_nothing_are_not_calibrated():
    targets = np.array([0.0, 0.0, 1.0, 1.0])
    for logits in (np.array([3.0, 2.0, -1.0, -2.0]), np.ones(4)):
        with pytest.raises(DataError, match="do not rise with pneumonia"):
            fit_calibration(targets, logits)
    with pytest.raises(DataError, match="both labels"):
        fit_calibration(np.ones(4), np.arange(4.0))


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 0.97, 0.99, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_threshold_is_the_highest_that_is_sensitive_enough(wanted, seed):
    targets, probabilities = answers(137, seed)
    found = threshold_of(targets, probabilities, wanted)
    grid = np.arange(1, 10_000) / 10_000
    enough = [value for value in grid if sensitivity(targets, probabilities, value) >= wanted]
    assert found == pytest.approx(max(enough), abs=1e-12)
    assert sensitivity(targets, probabilities, found) >= wanted


def test_a_threshold_is_never_0_or_1():
    assert threshold_of(np.ones(3), np.zeros(3), 0.9) == 1e-4
    assert threshold_of(np.ones(3), np.ones(3), 0.9) == 1 - 1e-4


def test_a_threshold_needs_films_with_pneumonia():
    with pytest.raises(DataError, match="films with pneumonia"):
        threshold_of(np.zeros(3), np.full(3, 0.5), 0.9)


@pytest.mark.parametrize("threshold", [0.0001, 0.02, 0.3, 0.5, 0.8, 0.9999])
def test_the_threshold_lies_between_the_bands_or_at_an_edge(threshold):
    targets, probabilities = answers()
    bands = fit_bands(targets, probabilities[np.newaxis], threshold)
    assert 0 < bands.low <= threshold <= bands.high < 1
    # What is below the threshold is never HIGH, and what is not below is never LOW.
    assert bands.band(np.nextafter(threshold, 0)) is not Band.HIGH
    assert bands.band(threshold) is not Band.LOW
    low = probabilities[targets == 1] < bands.low
    high = probabilities[targets == 0] >= bands.high
    assert low.mean() <= MAX_ERROR + 1e-12
    assert high.mean() <= MAX_ERROR + 1e-12


def test_the_bands_are_as_wide_as_their_rule_allows():
    targets, probabilities = answers()
    bands = fit_bands(targets, probabilities[np.newaxis], 0.5)
    assert bands.low < 0.5 < bands.high
    ill, normal = probabilities[targets == 1], probabilities[targets == 0]
    assert (ill < bands.low + 2e-4).sum() >= int(MAX_ERROR * (len(ill) + 1)) > 0
    assert (normal >= bands.high - 2e-4).sum() >= int(MAX_ERROR * (len(normal) + 1)) > 0


def test_what_was_observed_in_the_bands_adds_up():
    targets, probabilities = answers()
    bands = fit_bands(targets, probabilities[np.newaxis], 0.5)
    assert set(bands.observed) == set(Band)
    for band, found in bands.observed.items():
        inside = np.array([bands.band(value) is band for value in probabilities])
        assert (found.films, found.pneumonia) == (inside.sum(), targets[inside].sum())
        assert found.films > 0
        assert found.rate_ci == wilson(found.pneumonia, found.films)
    assert sum(found.films for found in bands.observed.values()) == len(targets)
    assert sum(found.pneumonia for found in bands.observed.values()) == targets.sum()
    rates = [bands.observed[band].pneumonia / bands.observed[band].films for band in Band]
    assert rates == sorted(rates)


def test_a_band_without_films_has_no_rate():
    targets = np.repeat([0.0, 1.0], 200)
    bands = fit_bands(targets, np.where(targets == 1, 0.9, 0.1)[np.newaxis], 0.9)
    assert bands.observed[Band.INTERMEDIATE].films == 0
    assert bands.observed[Band.INTERMEDIATE].rate_ci is None
    assert Bands.from_dict(json.loads(json.dumps(bands.as_dict()))) == bands


def test_bands_need_films_of_both_labels():
    for target in (0.0, 1.0):
        with pytest.raises(DataError, match="both labels"):
            fit_bands(np.full(4, target), np.linspace(0.1, 0.9, 4)[np.newaxis], 0.5)


def test_edges_belong_to_the_band_above():
    bands = Bands(0.2, 0.7, {})
    found = [bands.band(value) for value in (0.0, 0.1999, 0.2, 0.6999, 0.7, 1.0)]
    assert found == [Band.LOW, Band.LOW, Band.INTERMEDIATE, Band.INTERMEDIATE, Band.HIGH, Band.HIGH]


def test_bands_are_read_as_they_were_written():
    targets, probabilities = answers()
    bands = fit_bands(targets, probabilities[np.newaxis], 0.5, np.arange(len(targets)) // 2)
    assert Bands.from_dict(json.loads(json.dumps(bands.as_dict()))) == bands


@pytest.mark.parametrize(
    "broken",
    [
        {"low": 0.7, "high": 0.2, "observed": {}},
        {"low": -0.1, "high": 0.2, "observed": {}},
        {"low": 0.1, "high": 1.2, "observed": {}},
        {"low": float("nan"), "high": 0.2, "observed": {}},
        {"low": 0.1, "high": 0.2},
        {"low": 0.1, "high": 0.2, "observed": {"MIDDLING": {"films": 1, "pneumonia": 0, "rate_ci": None}}},
        {"low": 0.1, "high": 0.2, "observed": {"LOW": {"films": 1, "rate_ci": None}}},
    ],
)
def test_bands_that_are_not_whole_are_refused(broken):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Bands.from_dict(broken)


def children_of(rng, films, *labels):
    """Children of one label each, with one to five films, and their probabilities."""
    counts = rng.integers(1, 6, films)
    children = np.repeat(np.arange(films), counts)
    targets = np.repeat(rng.choice(labels, films), counts).astype(float)
    own = np.repeat(rng.normal(0, 1, films), counts)
    return targets, children, 1 / (1 + np.exp(-(4 * targets - 2 + own + rng.normal(0, 1, len(targets)))))


def test_the_bound_of_the_bands_holds_on_other_children_as_promised():
    """The mean over many draws of the calibrating children, which is what a split conformal bound is about."""
    rng = np.random.default_rng(3)
    wrong = []
    for _ in range(60):
        targets, children, probabilities = children_of(rng, 600, 0, 1)
        bands = fit_bands(targets, probabilities[np.newaxis], 0.5, children)
        targets, children, probabilities = children_of(rng, 3000, 0, 1)
        ill, low, high = targets == 1, probabilities < bands.low, probabilities >= bands.high
        wrong.append(
            [
                len(np.unique(children[ill & low])) / len(np.unique(children[ill])),
                len(np.unique(children[~ill & high])) / len(np.unique(children[~ill])),
            ]
        )
    means, errors = np.mean(wrong, axis=0), np.std(wrong, axis=0) / np.sqrt(len(wrong))
    assert (means - 3 * errors <= MAX_ERROR).all()
    assert (means > MAX_ERROR / 4).all()  # not won by empty bands


def test_a_child_counts_as_wrong_by_any_of_its_films():
    targets = np.repeat([0.0, 1.0], 400)
    children = np.arange(800) // 2  # 200 of each label
    probabilities = np.where(targets == 1, 0.9, 0.1)
    probabilities[[400, 402, 404]] = [0.2, 0.3, 0.4]  # one film each of three ill children
    bands = fit_bands(targets, probabilities[np.newaxis], 0.5, children)
    # 2 of 201 may be wrong: LOW ends below the second of them.
    assert bands.low == 0.2999
    assert bands.bound is not None
    assert (bands.bound.by, bands.bound.pneumonia, bands.bound.normal) == ("child", 200, 200)


def test_the_bands_hold_for_the_worst_of_the_rows():
    targets = np.repeat([0.0, 1.0], 300)
    clean = np.where(targets == 1, 0.9, 0.1) + np.tile(np.linspace(0, 0.05, 300), 2)
    worse = np.where(targets == 1, 0.6, 0.3) + np.tile(np.linspace(0, 0.05, 300), 2)
    children = np.arange(600)
    both = fit_bands(targets, np.stack([clean, worse]), 0.5, children)
    alone = [fit_bands(targets, row[np.newaxis], 0.5, children) for row in (clean, worse)]
    assert both.low == min(each.low for each in alone)
    assert both.high == max(each.high for each in alone)


def test_with_too_few_children_nothing_is_called_low_or_high():
    targets = np.repeat([0.0, 1.0], 98)
    bands = fit_bands(targets, np.where(targets == 1, 0.9, 0.1)[np.newaxis], 0.5)
    assert (bands.low, bands.high) == (0.0, 1.0)
    assert bands.observed[Band.INTERMEDIATE].films == 196


def test_the_calibration_of_a_shipped_bundle_is_fitted_again_from_its_logits():
    bundle = find_bundle("auscult-2", [builtin_folder()])
    stressed = stressed_of(bundle)
    assert stressed is not None
    found = fit_calibration(*stressed.pooled(Role.FIT))
    assert bundle.calibration is not None
    # The logits are kept as float32.
    assert found.slope == pytest.approx(bundle.calibration.slope, rel=1e-6)
    assert found.intercept == pytest.approx(bundle.calibration.intercept, rel=1e-6)
