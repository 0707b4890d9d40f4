"""Evidence as colour, laid over a film of any shape; none of it needs TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest

from model.explanation.explain import Explanation, full_evidence, stretched
from model.explanation.heatmap import COOL, STEPS, WARM, ramp, tinted
from model.labels import Method
from tests.support.helpers_bundle import shipped_bundle

# Machado, Oliveira and Fernandes 2009, severity 1, for linear sRGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(rgb: np.ndarray) -> np.ndarray:
    share = rgb / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb_linear: np.ndarray) -> np.ndarray:
    """CIELAB, a colour space other than the one the ramps were made in."""
    xyz = rgb_linear @ TO_XYZ.T / np.array([0.95047, 1.0, 1.08883])
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)


def explanation(*maps: np.ndarray) -> Explanation:
    return Explanation(Method.HIRESCAM, maps, 0.0, 0.0)


def peak(rows: int, columns: int, at: tuple[int, int]) -> np.ndarray:
    grid = np.zeros((rows, columns))
    grid[at] = 1
    return grid


@pytest.mark.parametrize("ends", [WARM, COOL], ids=["warm", "cool"])
def test_equal_steps_of_evidence_look_equally_far_apart_and_each_is_lighter(ends):
    colours = lab(linear(ramp(ends).astype(float)))[:: STEPS // 15]
    steps = np.linalg.norm(np.diff(colours, axis=0), axis=1)
    assert steps.max() < 1.7 * steps.min()
    assert (np.diff(colours[:, 0]) > 0).all()


@pytest.mark.parametrize("kind", sorted(BLINDNESS))
def test_for_and_against_are_told_apart_with_every_colour_blindness(kind):
    seen = [lab((linear(ramp(ends).astype(float)) @ np.transpose(BLINDNESS[kind])).clip(0, 1)) for ends in (WARM, COOL)]
    # 2.3 is a just noticeable difference
    assert np.linalg.norm(seen[0] - seen[1], axis=1).min() > 15


def test_a_film_without_evidence_looks_like_the_film():
    grey = np.random.default_rng(1).integers(0, 256, (9, 7), dtype=np.uint8)
    assert (tinted(grey, np.zeros((9, 7), np.float32), 5.0) == grey[..., np.newaxis]).all()


def test_stronger_evidence_covers_more_up_to_the_end_of_the_scale_and_never_the_whole_film():
    black, white = np.zeros((1, 4), np.uint8), np.full((1, 4), 255, np.uint8)
    evidence = np.array([[1.0, 2.0, 4.0, 40.0]], np.float32)
    for sign in (1, -1):
        contrast = (tinted(white, sign * evidence, 4.0).astype(int) - tinted(black, sign * evidence, 4.0)).mean(axis=2)[
            0
        ]
        assert contrast[0] > contrast[1] > contrast[2] == contrast[3]
        assert contrast[3] > 255 / 4


def test_evidence_for_is_warm_and_evidence_against_is_cool_and_fainter():
    grey = np.full((1, 2), 100, np.uint8)
    (warm, cool) = tinted(grey, np.array([[5.0, -5.0]], np.float32), 5.0)[0].astype(int)
    assert warm[0] > warm[2]
    assert cool[2] > cool[0]
    assert np.abs(warm - 100).max() > np.abs(cool - 100).max()


@pytest.mark.parametrize("shape", [(300, 700), (640, 256), (128, 128), (5, 5)])
@pytest.mark.parametrize("at", [(0, 0), (1, 3), (4, 2)])
def test_a_place_of_the_map_lands_on_the_same_place_of_a_film_of_any_shape(shape, at):
    over = explanation(peak(5, 5, at)).over(shape)
    centre = [(np.argwhere(over > 0.5)[:, axis].mean() + 0.5) / shape[axis] for axis in (0, 1)]
    assert over.shape == shape
    # at the rim the place reaches half a place further in only: its middle moves by less than that
    assert centre == pytest.approx([(at[0] + 0.5) / 5, (at[1] + 0.5) / 5], abs=0.03)


def test_maps_of_members_add_up_whatever_their_grids():
    coarse, fine = np.full((3, 3), 2.0), np.full((7, 7), -0.5)
    assert explanation(coarse, fine).over((40, 90)) == pytest.approx(1.5)


def test_stretching_keeps_the_mean_which_is_what_the_map_adds_to_the_logit():
    grid = np.random.default_rng(2).normal(size=(5, 5))
    assert stretched(grid, (500, 250)).mean() == pytest.approx(grid.mean(), abs=1e-5)


def test_one_scale_serves_all_films_of_a_bundle_and_comes_from_its_validation_logits():
    bundle = shipped_bundle()
    logits = np.loadtxt(bundle.path / "validation.csv", delimiter=",", skiprows=1)[:, 1]
    surer = (np.abs(logits) > full_evidence(bundle, Method.HIRESCAM)).mean()
    assert 0.02 < surer < 0.1
    assert full_evidence(bundle, Method.OCCLUSION) < full_evidence(bundle, Method.HIRESCAM)
