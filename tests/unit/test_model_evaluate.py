from __future__ import annotations

import json
import math

import numpy as np
import pytest

from model.errors import DataError
from model.evaluate import (
    Evaluation,
    auc,
    auc_interval,
    evaluate_logits,
    evaluate_probabilities,
    expected_calibration_error,
    wilson,
)

TARGETS = np.array([0, 0, 0, 1, 1, 1, 1, 1.0])
PROBABILITIES = np.array([0.1, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9, 0.95])


def delong_error(targets: np.ndarray, scores: np.ndarray) -> float:
    """Standard error of an AUC by DeLong's placements, written the long way."""
    positive, negative = scores[targets == 1], scores[targets == 0]
    wins = (positive[:, None] > negative).astype(float) + 0.5 * (positive[:, None] == negative)
    return math.sqrt(wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative))


def test_figures_of_a_case_worked_out_by_hand():
    found = evaluate_probabilities(TARGETS, PROBABILITIES, 0.5, "hand", "1")
    assert found.confusion == ((2, 1), (1, 4))
    assert found.n == 8
    assert found.accuracy == pytest.approx(6 / 8)
    assert found.sensitivity == pytest.approx(4 / 5)
    assert found.specificity == pytest.approx(2 / 3)
    assert found.auc == pytest.approx(14 / 15)  # of 15 pairs only (0.6, 0.4) is the wrong way round


def test_a_film_at_the_threshold_is_called_pneumonia():
    found = evaluate_probabilities(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 0.5, "hand", "1")
    assert found.confusion == ((0, 1), (0, 1))


def test_ties_count_half_in_the_auc():
    assert auc(np.array([0, 1, 0, 1.0]), np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert auc(np.array([0, 0, 1, 1.0]), np.array([0.1, 0.5, 0.5, 0.9])) == pytest.approx(3.5 / 4)
    assert auc(np.array([0, 0, 1, 1.0]), np.array([0.9, 0.8, 0.2, 0.1])) == 0.0


def test_the_auc_of_one_class_is_refused():
    with pytest.raises(DataError, match="films of both labels"):
        evaluate_probabilities(np.ones(3), np.array([0.1, 0.2, 0.3]), 0.5, "hand", "1")


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


def test_calibration_error_of_a_case_worked_out_by_hand():
    targets, probabilities = np.array([0, 1, 1, 1.0]), np.array([0.05, 0.05, 0.95, 1.0])
    # First bin: mean 0.05, half are ill, so 0.45 of 2 films; last bin: mean 0.975, all ill, so 0.025 of 2.
    assert expected_calibration_error(targets, probabilities) == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)


def test_logits_and_their_probabilities_give_the_same_figures():
    logits = np.log(PROBABILITIES / (1 - PROBABILITIES))
    found = evaluate_logits(TARGETS, logits, 0.5, "hand", "1")
    assert found.auc == pytest.approx(14 / 15)
    assert found.confusion == ((2, 1), (1, 4))
    assert found.ece == pytest.approx(expected_calibration_error(TARGETS, PROBABILITIES))


def test_an_evaluation_survives_json_and_has_the_promised_keys():
    found = evaluate_probabilities(TARGETS, PROBABILITIES, 0.5, "hand", "1")
    fields = json.loads(json.dumps(found.as_dict()))
    promised = [
        "n",
        "accuracy",
        "auc",
        "sensitivity",
        "specificity",
        "threshold",
        "ece",
        "confusion",
        "model",
        "version",
    ]
    assert set(promised) <= set(fields)
    assert fields["confusion"] == [[2, 1], [1, 4]]
    assert Evaluation.from_dict(fields) == found


@pytest.mark.parametrize("changes", [{"n": None}, {"confusion": [1, 2]}, {"auc_ci": [0.5]}])
def test_figures_that_are_incomplete_are_refused(changes):
    fields = evaluate_probabilities(TARGETS, PROBABILITIES, 0.5, "hand", "1").as_dict() | changes
    with pytest.raises(DataError, match="incomplete"):
        Evaluation.from_dict(fields)
