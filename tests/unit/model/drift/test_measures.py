"""Bins, and what they are joined to."""

from __future__ import annotations

import numpy as np
import pytest

from model.drift.measures import EDGES, OF_INPUT, Measure, bin_of, bins_of, histogram, in_bins, joined
from model.input_statistics import InputStatistics


@pytest.mark.parametrize("measure", Measure)
def test_a_value_and_many_values_fall_into_the_same_bins(measure):
    edges = EDGES[measure]
    values = [edges[0] - 1, *edges, (edges[0] + edges[1]) / 2, edges[-1] + 1]
    one_by_one = np.bincount([bin_of(measure, value) for value in values], minlength=bins_of(measure))
    assert histogram(measure, values).tolist() == one_by_one.tolist()
    assert one_by_one.sum() == len(values)


def test_the_statistics_of_a_film_are_the_measures_of_the_input():
    assert [measure.lower() for measure in OF_INPUT] == list(InputStatistics.__dataclass_fields__)


def test_joined_bins_hold_a_tenth_of_the_films_each_and_all_films_together():
    films = np.array([1, 0, 3, 40, 30, 2, 9, 9, 1, 0, 3, 2])
    bins = joined(films)
    held = in_bins(films, bins)
    assert held.tolist() == [44, 30, 11, 15]
    assert held.sum() == films.sum()


@pytest.mark.parametrize(("films", "number"), [([0, 0, 7, 0], 1), ([0, 0, 0], 1), ([5, 5], 2)])
def test_films_that_are_alike_have_one_bin(films, number):
    assert len(joined(np.array(films))) == number
