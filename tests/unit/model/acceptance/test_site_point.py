from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.acceptance.site_point import (
    CalibratedPoint,
    LabelledLogits,
    at_prevalence,
    cross_fit,
    fit_intercept,
    site_bands,
)
from model.errors import DataError, InputError
from model.labels import Band
from model.operating.calibration import Bands, Calibration, Observed
from model.statistics.logistic import fit_logistic
from model.statistics.sigmoid import sigmoid


def judged_films(n: int = 200, *, shift: float = 0.0, seed: int = 4) -> LabelledLogits:
    """Films of both labels, a third of them ill, two of each child; all logits moved by ``shift``."""
    rng = np.random.default_rng(seed)
    targets = (np.arange(n) // 2 % 3 == 0).astype(np.float64)
    logits = np.where(targets == 1, 2.0, -2.0) + 1.5 * rng.normal(size=n) + shift
    return LabelledLogits(targets, logits, np.array([f"child {number // 2}" for number in range(n)]))


def test_the_intercept_is_that_of_balanced_maximum_likelihood():
    films = judged_films()
    both = fit_logistic(films.logits[:, np.newaxis], films.targets, penalty=1e-9)
    slope = float(both.coefficients[0] / both.deviation[0])
    intercept = both.intercept - slope * float(both.mean[0])
    assert fit_intercept(films.targets, films.logits, slope).calibration.intercept == pytest.approx(intercept, abs=1e-5)


def test_logits_that_are_all_higher_give_the_same_answers_afterwards():
    films, moved = judged_films(), judged_films(shift=7.0)
    one = fit_intercept(films.targets, films.logits, 0.8)
    other = fit_intercept(moved.targets, moved.logits, 0.8)
    assert other.calibration.slope == 0.8
    assert other.calibration.intercept == pytest.approx(one.calibration.intercept - 0.8 * 7.0)
    assert other.logit == pytest.approx(one.logit + 7.0)


def test_films_that_are_told_apart_without_a_mistake_have_an_intercept_in_between():
    point = fit_intercept(np.array([0.0, 0, 1, 1]), np.array([-300.0, -290, 500, 510]), 1.0)
    assert -290 < point.logit < 500
    assert point.threshold == 0.5


@pytest.mark.parametrize(
    ("targets", "logits", "slope", "error"),
    [
        ([1.0, 1.0], [0.0, 1.0], 1.0, DataError),
        ([0.0, 1.0], [0.0, np.nan], 1.0, InputError),
        ([0.0, 1.0], [0.0, 1.0], 0.0, InputError),
    ],
)
def test_what_cannot_be_fitted_is_refused(targets, logits, slope, error):
    with pytest.raises(error, match="an operating point needs"):
        fit_intercept(np.array(targets), np.array(logits), slope)


def test_a_film_is_judged_by_a_point_that_no_film_of_its_child_has_touched():
    films = judged_films()
    found = cross_fit(films, 1.0)
    for child in np.unique(films.children)[:20]:
        own = films.children == child
        (fold,) = set(found.fold[own])
        moved = cross_fit(replace(films, logits=films.logits + np.where(own, 50.0, 0.0)), 1.0)
        assert moved.points[fold] == found.points[fold]
        assert moved.points != found.points
    assert found.probabilities == pytest.approx(
        [
            float(sigmoid(np.array(logit + found.points[fold].calibration.intercept)))
            for logit, fold in zip(films.logits, found.fold, strict=True)
        ]
    )


def test_one_child_of_a_label_is_too_few_to_cross_fit():
    films = judged_films(20)
    one = replace(films, targets=(films.children == "child 3").astype(np.float64))
    with pytest.raises(DataError, match="at least two of each"):
        cross_fit(one, 1.0)


def test_a_probability_is_restated_by_the_rule_of_bayes():
    # Of 1000 children 100 are ill. A score nine times as common among the ill as among the others is then even.
    assert at_prevalence([0.9, 0.5, 0.0, 1.0], 0.1) == pytest.approx([0.5, 0.1, 0.0, 1.0])
    assert at_prevalence([0.2, 0.7], 0.5) == pytest.approx([0.2, 0.7])


def test_bands_keep_their_edges_and_nothing_that_was_observed_elsewhere():
    bands = Bands(0.1, 0.85, {Band.LOW: Observed(10, 1, (0.0, 0.4))})
    assert site_bands(bands) == Bands(0.1, 0.85, {})
    assert site_bands(replace(bands, low=0.6)) == Bands(0.5, 0.85, {})
    assert site_bands(replace(bands, high=0.4)) == Bands(0.1, 0.5, {})


def test_the_logit_of_an_operating_point_lies_at_its_threshold():
    point = CalibratedPoint(Calibration(0.5, 1.0), 0.8)
    assert float(point.calibration.probabilities(np.array(point.logit))) == pytest.approx(0.8)
