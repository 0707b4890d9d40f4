"""What a film looks like in five numbers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.augmentation.perturb import PERTURBATIONS
from model.input_statistics import input_statistics

CHANGE = {one.name: one.change for one in PERTURBATIONS}


def smooth(side: int = 320):
    """A smooth picture between grey 40 and 200."""
    wave = np.sin(np.linspace(0, 9, side))
    return (120 + 40 * wave[:, None] + 40 * wave[None, :]).round().astype(np.uint8)


def test_the_numbers_are_those_of_the_squashed_film():
    film = smooth(160)
    found, grey = input_statistics(film), film.astype(float)
    assert found.mean_grey == pytest.approx(grey.mean(), rel=1e-5)
    assert found.contrast == pytest.approx(grey.std(), rel=1e-5)
    steps = (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
    assert found.sharpness == pytest.approx(steps / grey.std(), rel=1e-5)
    assert (found.dark_share, found.bright_share) == (0.0, 0.0)


def test_exposure_moves_the_mean_and_leaves_sharpness():
    before, after = input_statistics(smooth()), input_statistics(CHANGE["a fifth darker"](smooth()))
    assert after.mean_grey == pytest.approx(0.8 * before.mean_grey, rel=0.01)
    assert after.sharpness == pytest.approx(before.sharpness, rel=0.02)


def test_a_black_border_and_white_parts_are_shares_of_the_film():
    film = smooth(160)
    film[:16] = 0
    film[-8:] = 255
    found = input_statistics(film)
    assert found.dark_share == pytest.approx(0.1)
    assert found.bright_share == pytest.approx(0.05)


def test_blur_and_sharpening_move_sharpness_apart():
    noise = np.random.default_rng(1).normal(0, 12, (320, 320))
    film = np.clip(smooth() + noise, 0, 255).astype(np.uint8)
    blurred, plain, sharpened = (
        input_statistics(CHANGE[name](film)).sharpness for name in ("blurred", "as it is", "sharpened")
    )
    assert blurred < plain < sharpened


def test_the_size_of_a_film_matters_little():
    large = np.asarray(Image.fromarray(smooth(320)).resize((1500, 1200), Image.Resampling.BICUBIC))
    found, expected = input_statistics(large), input_statistics(smooth(320))
    assert found.mean_grey == pytest.approx(expected.mean_grey, abs=1)
    assert found.sharpness == pytest.approx(expected.sharpness, rel=0.03)


def test_a_film_of_one_grey_has_no_sharpness():
    assert input_statistics(np.full((200, 300), 90, np.uint8)).sharpness == 0.0
