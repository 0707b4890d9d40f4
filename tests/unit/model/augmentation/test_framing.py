from __future__ import annotations

import numpy as np
import pytest

from model.augmentation.framing import framed
from model.config import Framing

STILL = Framing(rotation_degrees=0, smallest=1, largest=1, aspect=0, border=0, horizontal_flip=False)


def rule(**changes) -> Framing:
    return Framing(**{**{name: getattr(STILL, name) for name in Framing.__dataclass_fields__}, **changes})


def disc(size: int = 96) -> np.ndarray:
    """A white disc of a fifth of the side in the middle of grey."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    return np.where(np.hypot(rows, columns) < size / 5, 255, 90).astype(np.uint8)


def extent(film: np.ndarray) -> tuple[int, int]:
    """Height and width of what is white around the middle."""
    return _run(film[:, len(film) // 2]), _run(film[len(film) // 2])


def _run(greys: np.ndarray) -> int:
    dark, middle = np.flatnonzero(greys < 180), len(greys) // 2
    return int(dark[dark > middle].min() - dark[dark < middle].max()) - 1


def test_a_rule_that_changes_nothing_gives_the_film_back():
    assert all(np.array_equal(framed(disc(), STILL, np.random.default_rng(seed)), disc()) for seed in range(6))


def test_the_same_chances_give_the_same_framing_and_others_another():
    wide = rule(smallest=0.75, largest=1.5, aspect=0.55, border=0.5, rotation_degrees=12, horizontal_flip=True)
    one, again, other = (framed(disc(), wide, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_film_is_shown_larger_and_smaller_within_the_bounds():
    plain = extent(disc())[0]
    seen = [extent(framed(disc(), rule(smallest=0.75, largest=1.4), np.random.default_rng(n)))[0] for n in range(60)]
    assert min(seen) < 0.85 * plain
    assert max(seen) > 1.25 * plain
    # Off the middle a disc is crossed by a shorter chord.
    assert all(0.5 * plain <= one <= 1.45 * plain for one in seen)


def test_a_film_is_made_taller_and_wider_within_the_bounds():
    shapes = [extent(framed(disc(), rule(aspect=0.55), np.random.default_rng(n))) for n in range(60)]
    ratios = np.array([height / width for height, width in shapes])
    assert ratios.min() < 0.7
    assert ratios.max() > 1.4
    assert np.all((ratios > np.exp(-0.6)) & (ratios < np.exp(0.6)))


def test_a_crop_lies_anywhere_in_the_film_but_never_beyond_it():
    marked = np.full((96, 96), 120, dtype=np.uint8)
    marked[:, :4] = marked[:, -4:] = 255
    left = right = 0
    for seed in range(80):
        film = framed(marked, rule(smallest=1.25, largest=1.25), np.random.default_rng(seed))
        assert set(np.unique(film)) <= set(range(120, 256))
        left, right = left + bool(film[48, 0] > 200), right + bool(film[48, -1] > 200)
    assert 0 < left < 40
    assert 0 < right < 40


@pytest.mark.parametrize("grey", [0, 255])
def test_what_lies_around_a_small_film_is_its_edge_or_one_grey(grey):
    surroundings = [
        framed(disc(), rule(smallest=0.6, largest=0.6), np.random.default_rng(seed))[[0, 0, -1, -1], [0, -1, 0, -1]]
        for seed in range(60)
    ]
    assert any(np.all(corners == 90) for corners in surroundings)
    assert any(np.any(corners == grey) for corners in surroundings)


def test_borders_come_on_every_side_and_leave_the_middle():
    touched = np.zeros(4, dtype=int)
    for seed in range(60):
        film = framed(disc(), rule(border=1), np.random.default_rng(seed))
        assert np.array_equal(film[24:72, 24:72], disc()[24:72, 24:72])
        touched += [film[0, 48] != 90, film[48, 0] != 90, film[-1, 48] != 90, film[48, -1] != 90]
    assert np.all(touched > 10)
    assert np.all(touched < 50)
