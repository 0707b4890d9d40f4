"""The measures by which maps are compared, on arrays whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from model.explanation.sanity import delete, spearman, structure


def noise(seed: int, shape: tuple[int, int] = (12, 12)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 999], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 2, 4], [1, 2, 3, 4], 0.9486832980505138),
        ([1, 2, 3, 4], [5, 5, 5, 5], 0.0),
    ],
    ids=["order kept", "order turned", "ties share a rank", "flat"],
)
def test_rank_correlation(first, second, wanted):
    assert spearman(np.array([first], float), np.array([second], float)) == pytest.approx(wanted)


def test_a_map_has_the_structure_of_itself_whatever_its_unit_and_not_that_of_noise():
    assert structure(noise(1), noise(1) * 7 + 3) == pytest.approx(1)
    assert abs(structure(noise(1), noise(2))) < 0.3
    assert structure(noise(1), -noise(1)) < -0.3


def test_a_flat_map_can_be_compared():
    assert abs(structure(noise(1), np.zeros((12, 12)))) < 0.1


def test_covering_what_a_network_looks_at_lowers_its_logit_and_covering_elsewhere_does_not():
    rng = np.random.default_rng(3)
    inputs = rng.uniform(0, 0.2, (6, 40, 40, 1)).astype(np.float32)
    inputs[:, 4:12, 20:30] = 1
    fall = delete(
        lambda films: films[:, 4:12, 20:30].astype(float).mean(axis=(1, 2, 3)), inputs, inputs[..., 0], 0.05, rng
    )
    assert fall.telling.min() > 0.8
    assert fall.random.max() < 0.2
