from __future__ import annotations

import math

import pytest

from model.statistics.intervals import Z95, wilson
from model.statistics.sample_size import films_for_half_width, films_for_lower_bound


def bounds(share: float, n: int) -> tuple[float, float]:
    """Wilson's interval by its formula, which also takes a number of successes that is not whole."""
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return middle - half, middle + half


def half_width(share: float, n: int) -> float:
    low, high = bounds(share, n)
    return (high - low) / 2


def test_the_formula_is_the_interval_for_whole_numbers():
    assert bounds(0.9, 50) == pytest.approx(wilson(45, 50), abs=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.96, 1.0])
@pytest.mark.parametrize("wanted", [0.05, 0.02])
def test_so_many_films_and_not_one_fewer_make_the_interval_as_narrow(share, wanted):
    n = films_for_half_width(share, wanted)
    assert half_width(share, n) <= wanted < half_width(share, n - 1)


@pytest.mark.parametrize(("share", "bound"), [(0.9, 0.85), (0.96, 0.9), (1.0, 0.95)])
def test_so_many_films_and_not_one_fewer_show_a_bound(share, bound):
    n = films_for_lower_bound(share, bound)
    assert n is not None
    assert bounds(share, n)[0] >= bound > bounds(share, n - 1)[0]


def test_more_films_do_not_show_what_is_not_there():
    assert films_for_lower_bound(0.9, 0.9) is None
    assert films_for_lower_bound(0.8, 0.9) is None
