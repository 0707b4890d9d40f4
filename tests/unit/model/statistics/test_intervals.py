from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from model.statistics.intervals import auc_interval, paired_difference_interval, wilson
from model.statistics.metrics import auc


def delong_error(targets: np.ndarray, scores: np.ndarray) -> float:
    """Standard error of an AUC by DeLong's placements, written the long way."""
    positive, negative = scores[targets == 1], scores[targets == 0]
    wins = (positive[:, None] > negative).astype(float) + 0.5 * (positive[:, None] == negative)
    return math.sqrt(wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Stat Med 17:857-872, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_ends_at_0_and_1_and_knows_nothing_without_trials():
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_auc_interval_is_about_delongs_where_that_is_good():
    rng = np.random.default_rng(11)
    targets = (rng.random(600) < 0.5).astype(float)
    scores = rng.normal(targets * 1.4, 1.0)
    area, half = auc(targets, scores), 1.96 * delong_error(targets, scores)
    low, high = auc_interval(area, int(targets.sum()), int((1 - targets).sum()))
    assert (low, high) == pytest.approx((area - half, area + half), abs=0.012)


def test_the_auc_interval_stays_inside_0_to_1_and_is_not_nothing_at_1():
    low, high = auc_interval(1.0, 8, 8)
    assert high == 1.0
    assert 0.5 < low < 0.95
    assert auc_interval(0.0, 8, 8) == pytest.approx((1 - high, 1 - low))


def test_the_auc_interval_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(12)
    truth = 0.5 * (1 + math.erf(1.5 / 2))  # P(N(1.5, 1) > N(0, 1))
    targets = np.repeat([0.0, 1.0], 40)
    covered = 0
    for _ in range(400):
        low, high = auc_interval(auc(targets, rng.normal(targets * 1.5, 1.0)), 40, 40)
        covered += low <= truth <= high
    assert covered / 400 == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Fagerland, Lydersen, Laake: Statistical Analysis of Contingency Tables (2017), chapter 8, Newcombe
        # square-and-add: complete response before and after consolidation therapy (Cavo 2012) ...
        ((59, 6, 16, 80), -0.1186, -0.0046),
        # ... and airway hyper-responsiveness before and after stem cell transplantation (Bentur 2009).
        ((1, 1, 7, 12), -0.5069, -0.0256),
    ],
)
def test_the_interval_of_a_paired_difference_is_the_published_one(table, low, high):
    assert paired_difference_interval(*table) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_a_paired_difference_turns_round_with_its_sides():
    low, high = paired_difference_interval(40, 9, 3, 12)
    assert paired_difference_interval(40, 3, 9, 12) == pytest.approx((-high, -low))


def test_the_interval_of_a_paired_difference_holds_the_difference_and_stays_in_range():
    for both, first, second, neither in product((0, 1, 7), repeat=4):
        low, high = paired_difference_interval(both, first, second, neither)
        n = both + first + second + neither
        assert -1 <= low <= (first - second) / n <= high <= 1 if n else (low, high) == (-1, 1)


def test_a_difference_that_was_never_seen_may_still_be_there():
    low, high = paired_difference_interval(8, 0, 0, 0)
    assert low < -0.2
    assert high > 0.2
