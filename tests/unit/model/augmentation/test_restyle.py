from __future__ import annotations

import numpy as np
import pytest

from model.augmentation.restyle import restyled, with_other_spectrum
from model.config import Restyle
from model.data.spectrum import log_spectrum
from model.preprocess import stretch

NOTHING = Restyle(spectrum=0.0, border=0.0, patches=0.0, blur=0.0, sharpen=0.0, tone=0.0, noise=0.0)
ALL = Restyle(spectrum=1.0, border=1.0, patches=1.0, blur=0.5, sharpen=0.5, tone=1.0, noise=1.0)


def only(**how_often: float) -> Restyle:
    return Restyle(**{**{name: getattr(NOTHING, name) for name in Restyle.__dataclass_fields__}, **how_often})


def film(seed: int = 1, size: int = 96) -> np.ndarray:
    """A smooth picture with some grain, of all greys."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    smooth = np.sin(3 * rows + seed) + np.cos(4 * columns) + 0.15 * rng.normal(size=(size, size))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return stretch((255 * smooth).astype(np.uint8))


@pytest.mark.parametrize("seed", range(8))
def test_a_style_is_a_film_again_and_the_same_chances_give_the_same(seed):
    before = film()
    pixels = before.copy()
    found = restyled(pixels, ALL, np.random.default_rng(seed))
    assert found.dtype == np.uint8
    assert found.shape == (96, 96)
    assert np.array_equal(pixels, before)
    assert np.array_equal(found, restyled(pixels, ALL, np.random.default_rng(seed)))
    assert not np.array_equal(found, restyled(pixels, ALL, np.random.default_rng(seed + 100)))


def test_without_a_rule_only_the_stretch_differs():
    found = restyled(film(), NOTHING, np.random.default_rng(1)).astype(int)
    assert np.abs(found - film()).mean() < 8
    assert np.corrcoef(found.ravel(), film().ravel())[0, 1] > 0.99


def grain(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.mark.parametrize(
    ("rule", "smoother"), [(only(blur=1.0), True), (only(sharpen=1.0), False), (only(noise=1.0), False)]
)
def test_blur_takes_grain_away_sharpening_and_noise_add_some(rule, smoother):
    usual = [grain(restyled(film(), NOTHING, np.random.default_rng(seed))) for seed in range(12)]
    found = [grain(restyled(film(), rule, np.random.default_rng(seed))) for seed in range(12)]
    assert (np.mean(found) < np.mean(usual) - 0.5) == smoother
    assert (np.mean(found) > np.mean(usual) + 0.5) != smoother


def test_a_border_lies_dark_along_one_side_and_nowhere_else():
    sides = set()
    for seed in range(24):
        # Bright, so that a border is seen; the stretch after it makes it black.
        found = restyled(film() // 4 + 180, only(border=1.0), np.random.default_rng(seed))
        dark = {
            name
            for name, line in (("left", found[:, 0]), ("right", found[:, -1]), ("top", found[0]), ("low", found[-1]))
            if (line < 40).all()
        }
        assert len(dark) == 1
        sides |= dark
        assert 0.02 < (found < 40).mean() < 0.16
    assert sides == {"left", "right", "top", "low"}


def test_patches_hide_a_part_and_leave_the_rest():
    shares = []
    for seed in range(24):
        plain = restyled(film(), NOTHING, np.random.default_rng(seed)).astype(int)
        found = restyled(film(), only(patches=1.0), np.random.default_rng(seed)).astype(int)
        shares.append((np.abs(found - plain) > 40).mean())
    assert 0.005 < np.mean(shares) < 0.08
    assert max(shares) < 2 * 0.23**2


def test_tone_changes_the_greys_and_hardly_their_order():
    for seed in range(8):
        found = restyled(film(), only(tone=1.0), np.random.default_rng(seed))
        new, old = (np.argsort(np.argsort(pixels.ravel(), kind="stable")) for pixels in (found, film()))
        assert np.corrcoef(new, old)[0, 1] > 0.97
    greys = [restyled(film(), only(tone=1.0), np.random.default_rng(seed)).mean() for seed in range(40)]
    plain = [restyled(film(), NOTHING, np.random.default_rng(seed)).mean() for seed in range(40)]
    assert np.std(greys) > 3 * np.std(plain)


def test_another_films_spectrum_moves_the_own_towards_it():
    crisp = film(1)
    hazy = restyled(film(2), only(blur=1.0), np.random.default_rng(3))
    own, other = log_spectrum(crisp), log_spectrum(hazy)
    for seed in range(8):
        found = log_spectrum(with_other_spectrum(crisp, own, other, np.random.default_rng(seed)))
        assert np.abs(found - other).mean() < np.abs(own - other).mean() * 0.85
    assert np.abs(with_other_spectrum(crisp, own, own, np.random.default_rng(1)).astype(int) - crisp).max() <= 1
