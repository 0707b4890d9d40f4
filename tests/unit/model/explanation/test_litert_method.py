"""Maps that need no TensorFlow: which method LiteRT can give, and how a map is laid over a film for lines."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from model.explanation.explain import Explanation, method_by_litert
from model.labels import Method
from model.serving.bundle import builtin_folder, load_bundle


@pytest.mark.parametrize(
    ("name", "own"),
    [("auscult-2", Method.OCCLUSION), ("auscult-1", Method.HIRESCAM), ("notebook-1", Method.HIRESCAM)],
)
def test_a_bundle_without_terms_is_explained_by_occlusion(name: str, own: Method) -> None:
    bundle = load_bundle(builtin_folder() / name)
    assert bundle.explained_by is own
    assert method_by_litert(bundle) is Method.OCCLUSION


def test_a_map_for_lines_has_no_kinks_and_claims_no_more_than_was_found() -> None:
    grid = np.zeros((10, 10))
    grid[4:6, 4:6] = 1.0
    explanation = Explanation(Method.OCCLUSION, (grid,), 0.0, 0.0)
    plain, smooth = explanation.over((400, 400)), explanation.over((400, 400), smooth=True)
    bends = [np.abs(np.diff(each[200], 2)).max() for each in (plain, smooth)]
    assert bends[1] < bends[0]
    assert smooth.max() == pytest.approx(1.0)
    assert smooth.min() == pytest.approx(0.0)
    assert smooth[200, 200] == pytest.approx(plain[200, 200])


def test_what_makes_a_heat_map_loads_no_tensorflow() -> None:
    code = "import worker.results.heat_map, sys; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
