from __future__ import annotations

import numpy as np
import pytest

from model.explanation.explain import Explainer
from model.explanation.occlusion import CELLS, occlusion
from model.labels import Method
from model.preprocess import to_input
from tests.support.helpers_bundle import shipped_bundle


def films(count: int = 3, size: int = 40) -> np.ndarray:
    return np.random.default_rng(4).random((count, size, size, 1), dtype=np.float32)


def test_where_each_pixel_counts_by_itself_a_place_falls_by_what_its_windows_hold_beyond_the_mean():
    weights = np.random.default_rng(1).normal(size=(40, 40))
    shown = films()
    found = occlusion(lambda inputs: (inputs[..., 0] * weights).sum(axis=(1, 2)), shown)
    beyond = (shown[..., 0] - shown.mean(axis=(1, 2, 3))[:, np.newaxis, np.newaxis]) * weights
    # Place (2, 5) is covered by the windows that begin at rows 4 and 8 and at columns 16 and 20, eight pixels each.
    wanted = np.mean([beyond[:, r : r + 8, c : c + 8].sum(axis=(1, 2)) for r in (4, 8) for c in (16, 20)], axis=0)
    assert found.shape == (3, CELLS, CELLS)
    assert found[:, 2, 5] == pytest.approx(wanted, abs=1e-4)
    corner = np.mean([beyond[:, :r, :c].sum(axis=(1, 2)) for r in (4, 8) for c in (4, 8)], axis=0)
    assert found[:, 0, 0] == pytest.approx(corner, abs=1e-4)


def test_a_place_on_which_nothing_depends_has_no_evidence_and_films_stay_as_they_are():
    shown, kept = films(), films()
    found = occlusion(lambda inputs: inputs[:, :8, :8, 0].sum(axis=(1, 2)).astype(float), shown)
    assert np.array_equal(shown, kept)
    assert np.abs(found[:, 4:, 4:]).max() == 0
    assert np.abs(found[:, :2, :2]).max() > 0


@pytest.mark.parametrize("size", [96, 150, 157])
def test_every_size_of_input_has_a_map_of_the_same_grid(size):
    assert occlusion(lambda inputs: inputs.mean(axis=(1, 2, 3)).astype(float), films(1, size)).shape == (1, 10, 10)


def test_any_bundle_is_explained_by_occlusion_without_keras(monkeypatch):
    monkeypatch.setattr("model.explanation.explain.load_network", lambda _: pytest.fail("Keras is not needed"))
    bundle = shipped_bundle()
    film = np.kron(np.random.default_rng(2).integers(0, 256, (9, 9), dtype=np.uint8), np.ones((20, 20), dtype=np.uint8))
    explainer = Explainer(bundle)
    found = explainer.explain(film, Method.OCCLUSION)
    assert found.method is Method.OCCLUSION
    assert found.maps[0].shape == (CELLS, CELLS)
    assert np.abs(found.maps[0]).max() > 0
    assert found.over((180, 180)).shape == (180, 180)
    logits = explainer._engine.logits(to_input(film, bundle.input_size)[np.newaxis])
    assert found.logit == pytest.approx(logits[0])
