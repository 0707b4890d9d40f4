from __future__ import annotations

import re

import numpy as np
import pytest

from model.data.dataset import load_films, scan_folder
from model.data.style import style_features, style_propensity
from model.errors import InputError
from model.statistics.metrics import auc


def clouds(n: int, distance: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < 0.25).astype(float)
    return rng.normal(np.outer(targets, [distance, 30 * distance, 0.01 * distance]), [1.0, 30.0, 0.01]), targets


def test_style_is_what_blur_changes_and_the_place_of_things_does_not():
    rng = np.random.default_rng(4)
    sharp = rng.integers(0, 256, (5, 96, 96), dtype=np.uint8)
    blurred = (
        (sharp.astype(int) + np.roll(sharp, 1, 1) + np.roll(sharp, 1, 2) + np.roll(sharp, (1, 1), (1, 2))) // 4
    ).astype(np.uint8)
    assert (style_features(blurred)[:, -1] < style_features(sharp)[:, -1] - 0.5).all()
    assert style_features(sharp[:, ::-1]) == pytest.approx(style_features(sharp))
    assert style_features(sharp[:0]).shape == (0, style_features(sharp).shape[1])


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 96, 32), np.uint8),
        np.zeros((96, 96), np.uint8),
        np.zeros((2, 96, 96)),
        np.zeros((2, 95, 95), np.uint8),
    ],
)
def test_a_film_that_is_not_square_has_no_style(pixels):
    with pytest.raises(InputError, match=re.escape("shape (n, size, size)")):
        style_features(pixels)


def test_propensity_is_balanced_whatever_the_share_of_the_classes():
    features, targets = clouds(4000, 0.5)
    found = style_propensity(features, targets, np.arange(4000), seed=1)
    assert ((found > 0) & (found < 1)).all()
    means = [found[targets == label].mean() for label in (0, 1)]
    assert means[0] < 0.5 < means[1]
    assert sum(means) == pytest.approx(1, abs=0.02)


@pytest.mark.data
def test_style_alone_tells_the_public_classes_apart(test_data):
    pictures = scan_folder(test_data / "chest_xray" / "train")[::4]
    films = load_films(pictures, 150)
    children = np.array([f"{picture.kind} {picture.patient}" for picture in pictures])
    found = style_propensity(style_features(films.pixels), films.targets, children, seed=20)
    assert 0.9 < auc(films.targets, found) < 0.98
