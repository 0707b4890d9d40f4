"""The population stability index beside other computations of it, and what it promises under resampling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from model.statistics.stability import design_effect, shares, stability

TENTHS = np.full(10, 0.1)
TILTED = np.array([0.02, 0.05, 0.07, 0.09, 0.1, 0.1, 0.11, 0.13, 0.15, 0.18])


def test_the_index_is_the_sum_of_both_relative_entropies():
    now, reference = np.array([120, 300, 580]), np.array([500, 900, 600])
    p, q = (now + 0.5) / (1000 + 1.5), (reference + 0.5) / (2000 + 1.5)
    by_chance = 2 * (1 / 1000 + 1 / 2000)
    expected = stats.entropy(p, q) + stats.entropy(q, p) - by_chance
    assert stability(now, reference).psi == pytest.approx(expected, rel=1e-12)


def test_equal_histograms_have_an_index_of_zero_and_an_interval_that_begins_there():
    found = stability(np.array([100, 200, 300]), np.array([1000, 2000, 3000]))
    assert (found.psi, found.low) == (0.0, 0.0)
    assert 0 < found.high < 0.05
    assert (found.n, found.n_reference) == (600, 6000)


def test_where_nothing_has_changed_the_index_follows_the_chi_square_distribution():
    """Yurdakul 2018: PSI / (1/n + 1/m) has (bins - 1) degrees of freedom; the correction takes its mean off."""
    rng = np.random.default_rng(1)
    n, m = 800, 3000
    draws = [(rng.multinomial(n, TENTHS), rng.multinomial(m, TENTHS)) for _ in range(3000)]
    scaled = [_plain(now, reference) / (1 / n + 1 / m) for now, reference in draws]
    assert np.mean(scaled) == pytest.approx(9, abs=0.35)
    for share in (0.5, 0.9, 0.99):
        assert np.mean(scaled <= stats.chi2(9).ppf(share)) == pytest.approx(share, abs=0.025)


def _plain(now, reference):
    p, q = shares(now), shares(reference)
    return float(((p - q) * np.log(p / q)).sum())


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_interval_holds_the_index_of_the_populations_as_often_as_it_says(share):
    rng = np.random.default_rng(2)
    p = (1 - share) * TENTHS + share * TILTED
    truth = float(((p - TENTHS) * np.log(p / TENTHS)).sum())
    found = [stability(rng.multinomial(600, p), rng.multinomial(1500, TENTHS)) for _ in range(1500)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.94
    assert np.mean([one.low > truth for one in found]) <= 0.03, "an alarm rests on the lower limit"


def test_the_delta_method_agrees_with_the_bootstrap():
    rng = np.random.default_rng(3)
    now, reference = rng.multinomial(2000, TILTED), rng.multinomial(4000, TENTHS)
    found = stability(now, reference, level=0.95)
    again = [_plain(rng.multinomial(2000, now / 2000), rng.multinomial(4000, reference / 4000)) for _ in range(3000)]
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(again), rel=0.1)


def test_a_design_effect_makes_the_interval_that_of_fewer_films():
    now, reference = np.array([1200, 3000, 5800]), np.array([5000, 9000, 6000])
    fewer = stability(now / 4, reference / 4)
    wider = stability(now, reference, effects=(4.0, 4.0))
    assert wider.high - wider.low == pytest.approx(fewer.high - fewer.low, rel=0.01)


def test_the_design_effect_is_pearsons_statistic_by_its_degrees_of_freedom():
    rng = np.random.default_rng(4)
    days = np.array([rng.multinomial(50, rng.dirichlet(TENTHS * 100)) for _ in range(30)])
    chi_square, _, free, _ = stats.contingency.chi2_contingency(days)
    assert design_effect(days) == pytest.approx(chi_square / free)
    assert design_effect(days) > 1.2


def test_days_of_independent_films_have_a_design_effect_near_one_and_few_days_tell_nothing():
    rng = np.random.default_rng(5)
    found = [design_effect(rng.multinomial(40, TENTHS, size=28)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(1.04, abs=0.04)
    assert design_effect(np.array([[100, 0], [0, 100], [50, 50], [0, 100]])) == 1.0
