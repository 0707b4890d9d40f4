"""The maps of small networks whose answer is known: they add up to the logit, and they lie where the network looks."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model.errors import EngineError, InputError
from model.explanation.explain import Explainer, Tapped
from model.labels import Method
from tests.support.helpers_bundle import shipped_bundle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.tensorflow,
    # Keras' variables under NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SIDE = 32


@dataclass(frozen=True)
class Files:
    """What an explainer needs of a bundle."""

    keras_path: Path
    label: str = "drawn-1"
    input_size: int = SIDE

    @property
    def litert_path(self) -> Path:
        return self.keras_path.with_suffix(".tflite")


def inputs(n: int = 3) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(n, SIDE, SIDE, 1)).astype(np.float32)


def member(film: Any, width: int, seed: int) -> tuple[Any, Any]:
    """A small member as the default network has them: convolutions, pooled features, a logit with a bias."""
    from keras import initializers, layers

    x = layers.Conv2D(width, 3, strides=2, padding="same", kernel_initializer=initializers.GlorotNormal(seed))(film)
    x = layers.Activation("silu")(x)
    x = layers.Conv2D(width, 3, strides=2, padding="same", kernel_initializer=initializers.GlorotNormal(seed + 1))(x)
    features = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    logit = layers.Dense(
        1, kernel_initializer=initializers.RandomNormal(seed=seed), bias_initializer=initializers.Constant(seed)
    )
    return logit(features), features


def pooled(seed: int = 5) -> Any:
    import keras

    film = keras.Input((SIDE, SIDE, 1))
    return keras.Model(film, member(film, 8, seed)[0])


def two_members() -> Any:
    """Two members of different grids and biases 2 and 5, which answer with a logit and with features."""
    import keras
    from keras import layers

    film = keras.Input((SIDE, SIDE, 1))
    first, second = member(film, 8, 2), member(layers.MaxPooling2D(2)(film), 6, 5)
    outputs = {
        "logit": layers.Average(name="logit")([first[0], second[0]]),
        "features": layers.Concatenate(name="features")([first[1], second[1]]),
    }
    return keras.Model(film, outputs)


def flattened() -> Any:
    """As the notebook's network ends: Flatten, Dense with ReLU, Dense; biases 0."""
    import keras
    from keras import initializers, layers

    film = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(6, 3, strides=4, padding="same", activation="relu", kernel_initializer=initializers.HeNormal(1))(
        film
    )
    x = layers.Dense(12, activation="relu", kernel_initializer=initializers.HeNormal(2))(layers.Flatten()(x))
    return keras.Model(film, layers.Dense(1, kernel_initializer=initializers.HeNormal(3))(x))


def logits_of(network: Any, films: np.ndarray) -> np.ndarray:
    answers = network(films, training=False)
    return np.asarray(answers["logit"] if isinstance(answers, dict) else answers, dtype=float)[:, 0]


@pytest.mark.parametrize(
    ("build", "bias", "members"),
    [(pooled, 5.0, 1), (two_members, 3.5, 2), (flattened, 0.0, 1)],
    ids=["pooled", "two members", "flattened"],
)
def test_the_maps_and_the_bias_are_the_logit(build: Any, bias: float, members: int) -> None:
    network, films = build(), inputs()
    for found, logit in zip(Tapped(network, "drawn").explain(films), logits_of(network, films), strict=True):
        assert len(found.maps) == members
        assert sum(each.mean() for each in found.maps) + bias == pytest.approx(logit, abs=1e-5)
        assert (found.logit, found.bias) == pytest.approx((logit, bias), abs=1e-5)


def test_after_pooling_hirescam_is_the_class_activation_map_and_grad_cam_is_the_same() -> None:
    import keras

    network, films = pooled(), inputs()
    maps = np.asarray(keras.Model(network.input, network.layers[-3].output)(films))
    weights = network.layers[-1].get_weights()[0][:, 0]
    for method in (Method.HIRESCAM, Method.GRAD_CAM):
        for found, wanted in zip(Tapped(network, "drawn").explain(films, method), maps @ weights, strict=True):
            assert found.maps[0] == pytest.approx(wanted, abs=1e-5)


def test_after_flatten_grad_cam_is_another_map_and_does_not_add_up() -> None:
    network, films = flattened(), inputs()
    methods = (Method.HIRESCAM, Method.GRAD_CAM)
    exact, other = (Tapped(network, "drawn").explain(films, method)[0] for method in methods)
    assert other.maps[0].std() > 0
    assert abs(exact.bias) < 1e-5 < abs(other.bias)


def test_films_explained_together_are_explained_as_each_by_itself() -> None:
    tapped, films = Tapped(two_members(), "drawn"), inputs()
    for number, together in enumerate(tapped.explain(films)):
        (alone,) = tapped.explain(films[number : number + 1])
        assert together.logit == pytest.approx(alone.logit, abs=1e-5)
        assert together.over((9, 9)) == pytest.approx(alone.over((9, 9)), abs=1e-4)


@pytest.mark.parametrize("shape", [(200, 500), (384, 160)])
def test_what_a_network_looks_at_is_marked_there_on_a_film_that_is_no_square(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    """The network counts white; a white patch on a dark film is all its evidence."""
    import keras
    from keras import layers

    from model.network.outputs import with_terms

    film_input = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(1, 4, strides=4, kernel_initializer="ones", use_bias=False)(film_input)
    network = keras.Model(film_input, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x)))
    network.save(tmp_path / "model.keras")
    with_terms(network).export(tmp_path / "model.tflite", format="litert", verbose=False)
    film = np.zeros(shape, np.uint8)
    rows, columns = shape
    film[rows * 5 // 8 : rows * 7 // 8, columns // 8 : columns * 3 // 8] = 255
    found = Explainer(Files(tmp_path / "model.keras")).explain(film)
    evidence = found.over(shape)
    marked = np.argwhere(evidence > evidence.max() / 2)
    assert (marked.mean(axis=0) + 0.5) / shape == pytest.approx((6 / 8, 2 / 8), abs=0.02)
    assert found.logit == pytest.approx(evidence.mean(), rel=0.01)


def test_a_network_without_maps_before_its_end_cannot_be_explained() -> None:
    import keras
    from keras import layers

    film = keras.Input((SIDE, SIDE, 1))
    flat = keras.Model(film, layers.Dense(1)(layers.Reshape((SIDE * SIDE,))(film)))
    with pytest.raises(EngineError, match="the network of drawn-1 has no convolutional maps"):
        Tapped(flat, "drawn-1")


@pytest.mark.parametrize(("broken", "engine"), [("model.tflite", "LiteRT"), ("model.keras", "Keras")])
def test_a_file_that_is_not_a_network_is_an_engine_error(tmp_path: Path, broken: str, engine: str) -> None:
    bundle = shipped_bundle()
    for path in (bundle.litert_path, bundle.keras_path):
        shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / broken).write_bytes(b"nothing")
    with pytest.raises(EngineError, match=f"{engine} cannot open the network of drawn-1"):
        Explainer(Files(tmp_path / "model.keras")).explain(np.zeros((9, 9), np.uint8))


def test_an_array_that_is_not_a_film_is_refused() -> None:
    with pytest.raises(InputError, match="two-dimensional"):
        Explainer(shipped_bundle()).explain(np.zeros((3, 3, 3), np.uint8))


def test_without_tensorflow_one_sentence_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(EngineError, match="install auscult with the extra cpu or gpu"):
        Explainer(shipped_bundle()).explain(np.zeros((9, 9), np.uint8))
