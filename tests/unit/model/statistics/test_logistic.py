from __future__ import annotations

import numpy as np
import pytest

from model.errors import DataError, InputError
from model.statistics.group_folds import FOLDS, group_folds
from model.statistics.logistic import cross_fitted, fit_logistic
from model.statistics.metrics import auc
from model.statistics.sigmoid import sigmoid


def clouds(n: int, distance: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < 0.25).astype(float)
    return rng.normal(np.outer(targets, [distance, 30 * distance, 0.01 * distance]), [1.0, 30.0, 0.01]), targets


def test_the_regression_is_where_its_penalised_balanced_loss_is_least():
    features, targets = clouds(200, 1.0)
    found = fit_logistic(features, targets, penalty=0.7)
    standardised = (features - features.mean(0)) / features.std(0)
    weights = np.where(targets == 1, 0.5 / targets.mean(), 0.5 / (1 - targets.mean()))
    error = weights * (sigmoid(found.logits(features)) - targets)
    assert standardised.T @ error + 0.7 * found.coefficients == pytest.approx(np.zeros(3), abs=1e-6)
    assert error.sum() == pytest.approx(0, abs=1e-6)


def test_classes_that_lie_wholly_apart_still_have_a_solution():
    targets = np.repeat([0.0, 1.0], 20)
    found = fit_logistic(np.c_[targets * 1e6, np.full(40, 7.1)], targets)
    assert np.isfinite(found.coefficients).all()
    assert found.coefficients[1] == 0  # the same everywhere
    assert ((found.logits(np.c_[targets * 1e6, np.full(40, 7.1)]) > 0) == targets).all()


def test_a_regression_of_one_class_or_of_no_numbers_is_refused():
    with pytest.raises(DataError, match="both labels"):
        fit_logistic(np.ones((3, 1)), np.ones(3))
    with pytest.raises(InputError, match="finite numbers"):
        fit_logistic(np.array([[1.0], [np.nan]]), np.array([0.0, 1.0]))
    with pytest.raises(InputError, match="one target for each film"):
        fit_logistic(np.ones((3, 1)), np.array([0.0, 1.0]))
    with pytest.raises(InputError, match="one group for each film"):
        cross_fitted(np.ones((2, 1)), np.array([0.0, 1.0]), np.arange(3), seed=1)


def test_a_film_is_judged_without_its_group():
    # The one feature names the child, which tells the label: useless once the child is left out.
    rng = np.random.default_rng(1)
    children = np.repeat(np.arange(60), 5)
    targets = (rng.random(60) < 0.5).astype(float)[children]
    features = np.eye(60)[children]
    assert auc(targets, fit_logistic(features, targets).logits(features)) == 1.0
    assert auc(targets, cross_fitted(features, targets, children, seed=2)) < 0.6


def test_folds_keep_groups_whole_and_share_out_both_classes():
    groups = np.array([f"child {number}" for number in np.random.default_rng(5).integers(0, 100, 400)])
    targets = np.array([float(int(name[6:]) % 4 == 0) for name in groups])
    fold = group_folds(targets, groups, seed=9)
    assert all(len(set(fold[groups == name])) == 1 for name in set(groups))
    for wanted in (0, 1):
        counts = [len(set(groups[(fold == number) & (targets == wanted)])) for number in range(FOLDS)]
        assert max(counts) - min(counts) <= 1
    assert not np.array_equal(fold, group_folds(targets, groups, seed=10))


def test_features_that_never_change_leave_the_balanced_answer():
    targets = np.array([0.0, 1.0, 1.0, 1.0])
    found = fit_logistic(np.full((4, 2), 3.3), targets)
    assert found.logits(np.full((4, 2), 3.3)) == pytest.approx(np.zeros(4))
