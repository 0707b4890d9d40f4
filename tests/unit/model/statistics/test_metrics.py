from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from model.errors import DataError
from model.statistics.metrics import Ranking, auc, calibration_error, expected_calibration_error, mean_of


def test_ties_count_half_in_the_auc():
    assert auc(np.array([0, 1, 0, 1.0]), np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert auc(np.array([0, 0, 1, 1.0]), np.array([0.1, 0.5, 0.5, 0.9])) == pytest.approx(3.5 / 4)
    assert auc(np.array([0, 0, 1, 1.0]), np.array([0.9, 0.8, 0.2, 0.1])) == 0.0


def test_calibration_error_of_a_case_worked_out_by_hand():
    targets, probabilities = np.array([0, 1, 1, 1.0]), np.array([0.05, 0.05, 0.95, 1.0])
    # First bin: mean 0.05, half are ill, so 0.45 of 2 films; last bin: mean 0.975, all ill, so 0.025 of 2.
    assert expected_calibration_error(targets, probabilities) == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)


def test_average_precision_of_a_case_worked_out_by_hand():
    # From the top: ill (1 of 1), well, ill (2 of 3), ill (3 of 4), well.
    ranking = Ranking(np.array([1, 0, 1, 1, 0.0]), np.array([0.9, 0.8, 0.7, 0.6, 0.1]))
    assert float(ranking.average_precision()) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_films_of_one_score_are_found_together():
    ranking = Ranking(np.array([1, 0, 1, 0.0]), np.array([0.7, 0.7, 0.7, 0.1]))
    assert float(ranking.average_precision()) == pytest.approx(2 / 3)


def repeated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.repeat(values, weights.astype(int), axis=0)


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, probabilities with ties, and how often each film counts in three samples."""
    rng = np.random.default_rng(21)
    targets = np.tile([0.0, 1.0], 15)
    probabilities = np.round(np.clip(0.5 + 0.2 * (2 * targets - 1) + rng.normal(size=30) * 0.3, 0, 1), 1)
    return targets, probabilities, rng.integers(0, 4, (3, 30)).astype(float)


def test_a_weight_of_three_is_the_film_three_times(case):
    targets, probabilities, weights = case
    ranking, right = Ranking(targets, probabilities), (probabilities >= 0.5) == (targets == 1)
    areas, precisions = ranking.auc(weights), ranking.average_precision(weights)
    errors, shares = calibration_error(targets, probabilities)(weights), mean_of(right, targets == 1)(weights)
    for row, counts in enumerate(weights):
        t, p, r = repeated(targets, counts), repeated(probabilities, counts), repeated(right, counts)
        assert areas[row] == pytest.approx(auc(t, p))
        assert precisions[row] == pytest.approx(float(Ranking(t, p).average_precision()))
        assert errors[row] == pytest.approx(expected_calibration_error(t, p))
        assert shares[row] == pytest.approx(r[t == 1].mean())


def test_the_auc_is_the_share_of_pairs_in_the_right_order(case):
    targets, probabilities, _ = case
    ill, well = probabilities[targets == 1], probabilities[targets == 0]
    pairs = (ill[:, None] > well) + 0.5 * (ill[:, None] == well)
    assert auc(targets, probabilities) == pytest.approx(pairs.mean())


def test_a_figure_of_no_film_is_nan(case):
    targets, probabilities, _ = case
    nothing = np.zeros(30)
    ranking = Ranking(targets, probabilities)
    assert np.isnan(ranking.auc(1 - targets))
    assert np.isnan(ranking.average_precision(1 - targets))
    assert np.isnan(mean_of(targets)(nothing))
    assert np.isnan(mean_of(targets, targets == 1)(1 - targets))


def test_films_of_one_label_cannot_be_ranked():
    with pytest.raises(DataError, match="films of both labels"):
        auc(np.zeros(3), np.array([0.1, 0.2, 0.3]))


def test_weighted_figures_are_those_of_scikit_learn(case):
    targets, probabilities, weights = case
    ranking = Ranking(targets, probabilities)
    for found, reference in (
        (ranking.auc(weights), roc_auc_score),
        (ranking.average_precision(weights), average_precision_score),
    ):
        expected = [reference(targets, probabilities, sample_weight=row) for row in weights]
        assert found == pytest.approx(expected, abs=1e-12)
