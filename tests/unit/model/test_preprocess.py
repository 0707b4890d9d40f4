from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.errors import InputError
from model.preprocess import squash, stretch, to_input


def test_the_input_is_float32_between_0_and_1_with_one_channel():
    film = np.random.default_rng(0).integers(0, 256, (300, 260), dtype=np.uint8)
    made = to_input(film, 150)
    assert made.shape == (150, 150, 1)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1


def test_black_becomes_0_and_white_becomes_1():
    film = np.zeros((200, 200), dtype=np.uint8)
    film[:, 100:] = 255
    made = to_input(film, 150)
    assert made[75, 10, 0] == 0.0
    assert made[75, 140, 0] == 1.0


def test_a_film_of_the_right_size_is_not_resampled():
    film = np.random.default_rng(1).integers(0, 256, (150, 150), dtype=np.uint8)
    assert np.array_equal(squash(film, 150), film)
    assert np.array_equal(to_input(film, 150)[:, :, 0], stretch(film).astype(np.float32) / np.float32(255))


def test_a_darker_or_flatter_print_of_a_film_gives_nearly_the_same_input():
    film = np.random.default_rng(3).integers(0, 256, (40, 40), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    for darker in ((film * 0.7).astype(np.uint8), (60 + film * 0.5).astype(np.uint8)):
        assert np.abs(to_input(darker, 150) - to_input(film, 150)).max() < 0.02


def test_a_picture_of_one_grey_is_not_stretched():
    grey = np.full((200, 200), 77, dtype=np.uint8)
    assert np.array_equal(to_input(grey, 150)[:, :, 0], np.full((150, 150), np.float32(77) / np.float32(255)))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 11), (10, 10), (160, 160)])
def test_the_stretch_is_pillows_autocontrast(shape):
    rng = np.random.default_rng(5)
    for middle, spread in [(128, 0), (0, 0), (255, 0), (128, 0.4), (128, 40), (10, 30), (250, 30), (90, 300)]:
        picture = rng.normal(middle, spread, shape).clip(0, 255).astype(np.uint8)
        expected = ImageOps.autocontrast(Image.fromarray(picture), cutoff=1)
        assert np.array_equal(stretch(picture), np.asarray(expected))


def test_a_pattern_finer_than_the_input_becomes_grey_instead_of_aliasing():
    film = np.zeros((600, 600), dtype=np.uint8)
    film[:, ::2] = 255
    made = squash(film, 150)
    assert float(made.std()) < 4
    assert float(made.mean()) == pytest.approx(127.5, abs=2)


def test_the_aspect_is_squashed_and_nothing_is_cut_off():
    film = np.zeros((256, 512), dtype=np.uint8)
    film[:, :32] = 255
    film[:, -32:] = 255
    made = to_input(film, 64)[:, :, 0]
    assert (made[:, :3] > 0.9).all()
    assert (made[:, -3:] > 0.9).all()
    assert (made[:, 6:-6] == 0).all()


def test_a_film_whose_memory_is_not_contiguous_gives_the_same_input():
    film = np.random.default_rng(2).integers(0, 256, (200, 300), dtype=np.uint8)
    assert np.array_equal(to_input(film[:, ::-1], 150), to_input(film[:, ::-1].copy(), 150))


@pytest.mark.parametrize(
    "film",
    [
        np.zeros((10, 10), dtype=np.float32),
        np.zeros((10, 10), dtype=np.uint16),
        np.zeros((10, 10, 3), dtype=np.uint8),
        np.zeros((0, 10), dtype=np.uint8),
    ],
    ids=["float", "16 bit", "colour", "empty"],
)
def test_an_array_that_is_not_a_film_is_refused(film):
    with pytest.raises(InputError, match="8-bit grey"):
        to_input(film, 150)


def test_an_input_without_a_size_is_refused():
    with pytest.raises(InputError, match="at least 1 pixel"):
        to_input(np.zeros((10, 10), dtype=np.uint8), 0)
