from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from model.errors import DataError
from model.statistics.metrics import auc
from model.statistics.paired import delong, mcnemar, normal_tails

# DeLong, DeLong and Clarke-Pearson (Biometrics 1988;44:837-845) without the six incomplete records, as printed in the
# SAS/STAT User's Guide, LOGISTIC, "Comparing Receiver Operating Characteristic Curves": albumin, total protein, K-G
# score (which falls where the others rise), whether surgery helped.
PRINTED = """
    3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1
    3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0
    2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1
    3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0
    3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
    3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""
OVARIAN = np.array(PRINTED.split(), dtype=float).reshape(-1, 4)
ALBUMIN, PROTEIN, KG, HELPED = (*OVARIAN[:, :2].T, 10 - OVARIAN[:, 2], OVARIAN[:, 3])


@pytest.mark.parametrize(
    ("scores", "area", "difference", "low", "high", "p"),
    [(ALBUMIN, 0.7366, 0.0108, -0.1761, 0.1976, 0.9102), (PROTEIN, 0.6478, -0.0780, -0.2830, 0.1271, 0.4561)],
    ids=["albumin", "total protein"],
)
def test_delongs_own_data_give_the_published_areas_interval_and_p(scores, area, difference, low, high, p):
    found = delong(HELPED, scores, KG)
    assert found.first == pytest.approx(area, abs=5e-5)
    assert found.second == pytest.approx(0.7258, abs=5e-5)
    assert found.difference == pytest.approx(difference, abs=5e-5)
    assert found.interval == pytest.approx((low, high), abs=5e-5)
    assert found.p == pytest.approx(p, abs=5e-5)


def covariance_the_long_way(targets: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Variance of the difference of two AUCs by DeLong's formulas 4 and 5, pair by pair."""
    placements = []
    for scores in (first, second):
        ill, well = scores[targets == 1], scores[targets == 0]
        wins = (ill[:, None] > well).astype(float) + 0.5 * (ill[:, None] == well)
        placements.append((wins.mean(1), wins.mean(0)))
    variance = 0.0
    for side, count in ((0, int(targets.sum())), (1, int((1 - targets).sum()))):
        gap = placements[0][side] - placements[1][side]
        variance += gap.var(ddof=1) / count
    return float(variance)


def test_midranks_give_what_counting_pairs_gives_ties_and_all():
    rng = np.random.default_rng(31)
    targets = (rng.random(60) < 0.4).astype(float)
    first, second = (np.round(rng.normal(targets * gap, 1.0), 1) for gap in (1.0, 1.4))
    found = delong(targets, first, second)
    error = math.sqrt(covariance_the_long_way(targets, first, second))
    assert found.first == pytest.approx(auc(targets, first))
    assert found.difference == pytest.approx(auc(targets, first) - auc(targets, second))
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(1.959964 * error, rel=1e-6)
    assert found.p == pytest.approx(2 * 0.5 * math.erfc(abs(found.difference) / error / math.sqrt(2)))


def test_delongs_p_is_about_that_of_exchanging_the_networks_film_by_film():
    rng = np.random.default_rng(32)
    targets = np.repeat([0.0, 1.0], 60)
    common = rng.normal(targets * 1.2, 1.0)
    first, second = (common + rng.normal(size=120) * 0.6 for _ in range(2))
    second = second + 0.35 * targets
    # On their ranks, so that exchanging the networks on a film changes nothing but which of them it counts for.
    first, second = (np.argsort(np.argsort(scores)).astype(float) for scores in (first, second))
    found = delong(targets, first, second)
    as_far = 0
    for swap in rng.random((2000, 120)) < 0.5:
        one, other = np.where(swap, second, first), np.where(swap, first, second)
        as_far += abs(auc(targets, one) - auc(targets, other)) >= abs(found.difference) - 1e-12
    assert found.p == pytest.approx(as_far / 2000, abs=0.03)


def test_a_network_is_as_good_as_itself():
    found = delong(HELPED, KG, KG)
    assert (found.difference, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_a_difference_that_cannot_vary_has_no_p():
    targets = np.array([0, 0, 1, 1.0])
    assert delong(targets, targets, 1 - targets).p is None


def test_a_single_film_of_a_label_is_too_few():
    with pytest.raises(DataError, match="two films of each label"):
        delong(np.array([0, 0, 1.0]), np.arange(3.0), np.arange(3.0))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        # Fagerland, Lydersen, Laake: Statistical Analysis of Contingency Tables (2017), chapter 8: Cavo 2012, Bentur 2009.
        (6, 16, 0.052479),
        (1, 7, 0.0703125),
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 1, 1.0),
    ],
)
def test_mcnemars_p_is_the_published_one(only_first, only_second, p):
    assert mcnemar(only_first, only_second) == pytest.approx(p, abs=5e-7)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 5), (1, 6), (4, 3), (2, 8)])
def test_mcnemars_p_is_the_share_of_all_ways_to_fall_that_are_as_uneven(only_first, only_second):
    ways = [sum(way) for way in product((0, 1), repeat=only_first + only_second)]
    gap = abs(only_first - only_second)
    as_uneven = sum(abs(2 * wins - (only_first + only_second)) >= gap for wins in ways)
    assert mcnemar(only_first, only_second) == pytest.approx(as_uneven / len(ways))


def test_many_disagreements_do_not_overflow():
    assert 0 < mcnemar(2400, 2600) < 0.01
    assert mcnemar(0, 5000) < 1e-300


@pytest.mark.parametrize(("z", "p"), [(0, 1.0), (1.959964, 0.05), (-2.575829, 0.01), (3.290527, 0.001)])
def test_the_tails_of_the_normal_distribution_are_those_of_the_tables(z, p):
    assert normal_tails(z) == pytest.approx(p, rel=1e-5)
