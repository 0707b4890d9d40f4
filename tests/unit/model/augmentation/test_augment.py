from __future__ import annotations

import numpy as np
import pytest

from model.augmentation.augment import augmented
from model.config import Augment

STILL = Augment(rotation_degrees=0, zoom=0, shift=0, horizontal_flip=False)
REFERENCE = Augment(rotation_degrees=30, zoom=0.2, shift=0.1, horizontal_flip=True)


def film(size: int = 60) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.kron(rng.integers(40, 250, (6, 6), dtype=np.uint8), np.ones((size // 6, size // 6), dtype=np.uint8))


def test_a_rule_that_moves_nothing_gives_the_film_back():
    assert np.array_equal(augmented(film(), STILL, np.random.default_rng(0)), film())


def test_the_same_chances_give_the_same_variant_and_others_another():
    one, again = (augmented(film(), REFERENCE, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, augmented(film(), REFERENCE, np.random.default_rng(8)))


def test_a_film_may_come_out_mirrored_and_not_otherwise_changed():
    rule = Augment(rotation_degrees=0, zoom=0, shift=0, horizontal_flip=True)
    seen = [augmented(film(), rule, np.random.default_rng(seed)) for seed in range(20)]
    mirrored = [np.array_equal(variant, film()[:, ::-1]) for variant in seen]
    still = [np.array_equal(variant, film()) for variant in seen]
    assert any(mirrored)
    assert any(still)
    assert all(m or s for m, s in zip(mirrored, still, strict=True))


def test_the_middle_stays_the_middle_when_a_film_is_turned_and_stretched():
    marked = np.zeros((61, 61), dtype=np.uint8)
    marked[28:33, 28:33] = 255
    rule = Augment(rotation_degrees=30, zoom=0.2, shift=0, horizontal_flip=True)
    for seed in range(10):
        rows, columns = np.nonzero(augmented(marked, rule, np.random.default_rng(seed)) > 127)
        assert rows.mean() == pytest.approx(30, abs=0.6)
        assert columns.mean() == pytest.approx(30, abs=0.6)


def test_what_comes_from_outside_repeats_the_edge_and_is_never_black():
    for seed in range(200):
        assert augmented(film(), REFERENCE, np.random.default_rng(seed)).min() >= 40
