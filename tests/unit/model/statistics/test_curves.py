from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from model.errors import DataError
from model.statistics.curves import histogram, precision_recall, reliability, roc
from model.statistics.intervals import wilson
from model.statistics.metrics import Ranking, auc

TARGETS = np.array([0, 0, 0, 1, 1, 1, 1, 1.0])
PROBABILITIES = np.array([0.1, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9, 1.0])


def area_below(x: tuple[float, ...], y: tuple[float, ...]) -> float:
    return float(np.trapezoid(y, x))


def test_the_roc_goes_from_corner_to_corner_through_every_threshold():
    found = roc(TARGETS, PROBABILITIES)
    assert found.x == pytest.approx((0, 0, 0, 1 / 3, 1 / 3, 1))
    assert found.y == pytest.approx((0, 1 / 5, 4 / 5, 4 / 5, 1, 1))


def test_the_area_below_the_roc_is_the_auc_ties_and_all():
    rng = np.random.default_rng(51)
    targets = (rng.random(300) < 0.3).astype(float)
    scores = np.round(rng.normal(targets, 1.0), 1)
    found = roc(targets, scores)
    assert area_below(found.x, found.y) == pytest.approx(auc(targets, scores))
    assert len(found.x) < len(set(scores)) + 1


def test_the_steps_of_precision_and_recall_have_the_average_precision_below_them():
    found = precision_recall(TARGETS, PROBABILITIES)
    assert (found.x[-1], found.y[-1]) == (1.0, 5 / 8)
    steps = np.diff((0.0, *found.x)) @ np.array(found.y)
    assert steps == pytest.approx(float(Ranking(TARGETS, PROBABILITIES).average_precision()))


def test_the_reliability_is_scikit_learn_s_calibration_curve():
    rng = np.random.default_rng(4)
    probabilities = rng.random(500)
    targets = (rng.random(500) < probabilities**2).astype(float)
    found = reliability(targets, probabilities)
    observed, predicted = calibration_curve(targets, probabilities, n_bins=10)
    assert [part.observed for part in found] == pytest.approx(observed)
    assert [part.probability for part in found] == pytest.approx(predicted)


@pytest.mark.parametrize("curve", [roc, precision_recall])
def test_a_curve_of_one_label_is_refused(curve):
    with pytest.raises(DataError, match="both labels"):
        curve(np.ones(3), np.arange(3.0))


def test_bins_of_reliability_hold_all_films_and_their_observed_share():
    found = reliability(TARGETS, PROBABILITIES)
    assert sum(part.n for part in found) == 8
    (last,) = (part for part in found if part.high == 1.0)
    assert (last.low, last.n, last.observed) == (0.9, 2, 1.0)
    assert last.probability == pytest.approx(0.95)
    assert last.interval == wilson(2, 2)
    assert all(part.low <= part.probability <= part.high for part in found)


def test_the_histogram_counts_each_label_apart():
    found = histogram(TARGETS, PROBABILITIES)
    assert len(found) == 20
    assert sum(part.normal for part in found) == 3
    assert sum(part.pneumonia for part in found) == 5
    assert found[-1].pneumonia == 1  # a probability of 1 is in the last bin
    assert found[0].low == 0.0
    assert found[-1].high == 1.0
