from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.augmentation.film_weights import balanced, style_weights, weighted_auc
from model.data.dataset import Picture
from model.data.style import style_propensity
from model.labels import Label
from model.statistics.metrics import auc


def brute_force(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    won = total = 0.0
    for ill in np.flatnonzero(targets == 1):
        for normal in np.flatnonzero(targets == 0):
            pair = weights[ill] * weights[normal]
            total += pair
            won += pair * (1.0 if scores[ill] > scores[normal] else 0.5 if scores[ill] == scores[normal] else 0.0)
    return won / total


@pytest.mark.parametrize("seed", range(6))
def test_the_weighted_area_is_the_share_of_weighted_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat([0.0, 1.0], [25, 40]))
    # Few different scores: many ties, within a label and across.
    scores = rng.integers(0, 7, 65) / 7 + 0.1 * targets.round() * (seed % 2)
    weights = rng.exponential(1.0, 65)
    assert weighted_auc(targets, scores, weights) == pytest.approx(brute_force(targets, scores, weights), abs=1e-12)
    assert weighted_auc(targets, scores, np.full(65, 3.0)) == pytest.approx(auc(targets, scores), abs=1e-12)


def test_the_weighted_area_counts_a_film_of_weight_2_as_two():
    targets, scores = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.6, 0.5, 0.9])
    twice = np.array([0, 1, 1, 2, 3])
    found = weighted_auc(targets, scores, np.array([1.0, 2.0, 1.0, 1.0]))
    assert found == pytest.approx(auc(targets[twice], scores[twice]))
    assert found != pytest.approx(auc(targets, scores))


def test_both_labels_count_alike():
    targets = np.array([1.0, 1, 1, 1, 1, 1, 0, 0], dtype=np.float32)
    found = balanced(targets)
    assert found.mean() == pytest.approx(1)
    assert found[targets == 1].sum() == pytest.approx(found[targets == 0].sum())
    assert len(set(found)) == 2


def styled(n: int = 600) -> tuple[list[Picture], np.ndarray, np.ndarray]:
    """Films whose style mostly tells the label; every child has two."""
    rng = np.random.default_rng(6)
    targets = np.repeat((rng.random(n // 2) < 0.7).astype(float), 2)
    pictures = [
        Picture(Path(f"{number}.png"), Label.PNEUMONIA if target else Label.NORMAL, "virus", str(number // 2))
        for number, target in enumerate(targets)
    ]
    return pictures, targets, rng.normal(np.outer(targets, [1.5, -0.5]), 1.0)


@pytest.mark.parametrize("bound", [1.0, 4.0, 20.0])
def test_style_weights_have_a_mean_of_1_in_each_label_and_are_bounded(bound):
    pictures, targets, style = styled()
    weights = style_weights(pictures, targets, style, bound, seed=4)
    assert weights.shape == (600,)
    assert (weights > 0).all()
    for target in (0, 1):
        own = weights[targets == target]
        assert own.mean() == pytest.approx(1)
        assert own.max() / own.min() <= bound * (1 + 1e-9)
        assert bound == 1 or own.max() / own.min() > min(bound, 4) * 0.9


def test_a_film_in_the_others_style_counts_more_and_style_then_says_little():
    pictures, targets, style = styled(2000)
    children = np.array([f"{picture.kind} {picture.patient}" for picture in pictures])
    pneumonia = style_propensity(style, targets, children, 4)
    weights = style_weights(pictures, targets, style, 20.0, seed=4)
    for target, order in ((1, -pneumonia), (0, pneumonia)):
        of = targets == target
        assert (np.diff(weights[of][np.argsort(order[of])]) >= -1e-12).all()
    before, after = (weighted_auc(targets, pneumonia, each) for each in (np.ones(2000), weights))
    assert before > 0.8
    assert abs(after - 0.5) < 0.08


def test_a_childs_own_films_do_not_decide_on_their_weights():
    pictures, targets, style = styled()
    changed = style.copy()
    changed[:2] += 50.0
    # The films of child 0 alone: the weights of those left out together with it come from others.
    first, second = (style_weights(pictures, targets, each, 20.0, seed=4) for each in (style, changed))
    assert first.tolist() == style_weights(pictures, targets, style.copy(), 20.0, seed=4).tolist()
    assert not np.allclose(first, second)
