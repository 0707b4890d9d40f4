"""What LiteRT tells of an answer: the same logit as before, each member's, and maps that are those of Keras and add up."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model.errors import EngineError
from model.explanation.explain import Explainer, Tapped
from model.labels import Label, Method
from model.preprocess import to_input
from model.serving.engine import LiteRtEngine, load_network
from tests.support.documents import ROOT
from tests.support.helpers_bundle import drawn_film, shipped_bundle
from tests.support.helpers_network import SIDE, Files, flattened, mobile, residual, written

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.tensorflow,
    # Keras' variables under NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def inputs(n: int = 6) -> np.ndarray[Any, np.dtype[np.float32]]:
    films = [drawn_film(label, seed, 80) for seed in range(n // 2) for label in Label]
    return np.stack([to_input(film, SIDE) for film in films])


@pytest.fixture(scope="module", params=["three residual members", "one mobile network"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    from model.network.kinds import join_members

    members = [mobile(1)] if "mobile" in request.param else [residual(seed) for seed in range(3)]
    return written(join_members(members, SIDE), tmp_path_factory.mktemp("files"))


def test_litert_gives_the_maps_of_keras_and_they_add_up(files: Files) -> None:
    network, engine, films = load_network(files), LiteRtEngine(files), inputs()
    assert engine.has_terms
    for found, wanted in zip(engine.terms(films), Tapped(network, "drawn").explain(films), strict=True):
        assert [each.shape for each in found.maps] == [each.shape for each in wanted.maps]
        for mine, its in zip(found.maps, wanted.maps, strict=True):
            assert np.ptp(its) > 0.01
            assert mine == pytest.approx(its, abs=1e-4)
        assert found.logit == pytest.approx(wanted.logit, abs=1e-4)
        assert sum(each.mean() for each in found.maps) + wanted.bias == pytest.approx(found.logit, abs=1e-4)


def test_the_members_logits_are_told_in_their_order_and_their_mean_is_the_answer(files: Files) -> None:
    import keras

    network, films = load_network(files), inputs()
    ends = [layer.output for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    alone = np.column_stack([keras.Model(network.input, end)(films, training=False) for end in ends])
    terms = LiteRtEngine(files).terms(films)
    assert np.array([each.members for each in terms]) == pytest.approx(alone, abs=1e-4)
    assert [np.mean(each.members) for each in terms] == pytest.approx([each.logit for each in terms], abs=1e-5)


def test_terms_are_told_with_the_very_logit_that_is_served(files: Files) -> None:
    engine, films = LiteRtEngine(files), inputs()
    assert [each.logit for each in engine.terms(films)] == engine.logits(films).tolist()


def test_the_logit_is_what_it_would_be_without_terms(files: Files) -> None:
    engine, films = LiteRtEngine(files), inputs()
    plain = files.path / "plain"
    plain.mkdir()
    load_network(files).export(plain / "model.tflite", format="litert", verbose=False)
    assert LiteRtEngine(Files(plain)).logits(films) == pytest.approx(engine.logits(films), abs=1e-5)


def test_both_methods_give_the_map_that_keras_gives(files: Files) -> None:
    film = drawn_film(Label.PNEUMONIA, 3, 90)
    tapped, explainer = Tapped(load_network(files), "drawn"), Explainer(files)
    for method in (Method.HIRESCAM, Method.GRAD_CAM):
        found = explainer.explain(film, method)
        (wanted,) = tapped.explain(to_input(film, SIDE)[np.newaxis], method)
        assert found.method is method
        assert found.over((90, 90)) == pytest.approx(wanted.over((90, 90)), abs=1e-3)
        assert (found.logit, found.bias) == pytest.approx((wanted.logit, wanted.bias), abs=1e-4)


WITHOUT_TENSORFLOW = """
import sys
from pathlib import Path
import numpy as np
sys.modules["tensorflow"] = sys.modules["keras"] = None
from model.explanation.explain import Explainer
from tests.support.helpers_network import Files
found = Explainer(Files(Path(sys.argv[1]))).explain(np.eye(80, dtype=np.uint8) * 255)
print(found.over((80, 80)).shape, np.isfinite(found.bias))
"""


def test_a_film_is_explained_where_tensorflow_is_not_installed(files: Files) -> None:
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(files.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split("\n")[0] == "(80, 80) True", done.stderr


def test_a_network_without_maps_that_add_up_is_exported_with_its_logit_alone(tmp_path: Path) -> None:
    from model.network.outputs import with_terms

    network = flattened()
    assert with_terms(network) is network
    files = written(network, tmp_path)
    engine = LiteRtEngine(files)
    assert engine.logits(inputs(2)).shape == (2,)
    assert not engine.has_terms
    with pytest.raises(EngineError, match="drawn-1 was exported without the terms of its answer"):
        engine.terms(inputs(2))
    wanted = Tapped(network, "drawn").explain(to_input(drawn_film(Label.NORMAL, 1), SIDE)[np.newaxis])[0]
    found = Explainer(files).explain(drawn_film(Label.NORMAL, 1))
    assert found.maps[0] == pytest.approx(wanted.maps[0], abs=1e-5), "Keras explains it"


def test_a_shipped_bundle_of_one_output_is_served_and_has_no_terms() -> None:
    engine = LiteRtEngine(shipped_bundle())
    assert np.isfinite(engine.logits(np.zeros((1, 150, 150, 1), np.float32))).all()
    assert not engine.has_terms


def test_outputs_among_which_the_logit_is_not_named_are_not_guessed_at(tmp_path: Path) -> None:
    import keras

    network = flattened()
    two = keras.Model(network.input, {"first": network.output, "second": network.layers[-2].output})
    two.export(tmp_path / "model.tflite", format="litert", verbose=False)
    with pytest.raises(EngineError, match="no output called logit"):
        LiteRtEngine(Files(tmp_path))
