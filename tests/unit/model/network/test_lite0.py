from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from model.config import NetworkSpec
from model.network.start_weights import imagenet_lite0

if TYPE_CHECKING:
    import keras

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.slow,
    # Keras' variables under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SPEC = NetworkSpec("lite0", dropout=0.2)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    from model.network.kinds import build_network
    from model.network.lite0 import start_from

    built = build_network(SPEC, 64)
    start_from(built, imagenet_lite0())
    return built


def films(count: int = 2, size: int = 64) -> np.ndarray:
    return np.random.default_rng(5).random((count, size, size, 1), dtype=np.float32)


def test_it_has_the_layers_of_the_paper(network):
    import keras

    from model.network.lite0 import BLOCKS

    strides = np.prod([2, *(block.strides for block in BLOCKS)])
    maps = next(layer for layer in network.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)).input
    assert network.input.shape == (None, None, None, 1)
    assert maps.shape[-1] == 1280
    assert strides == 32
    # 4,652,008 of the original, less 1,281,000 of its last layer and two of three input channels and the two moving
    # statistics of each normalised filter, which stand for one gain and one bias; with a last layer of one logit.
    assert network.count_params() == 3_371_713


def test_a_block_computes_what_convolution_normalisation_and_relu6_of_the_original_compute(network):
    import keras

    from model.network.lite0 import EPSILON

    tensors = imagenet_lite0()
    part = keras.Model(network.input, network.get_layer("block_0_project").output)
    x = keras.ops.convert_to_tensor(np.repeat((films() * 255 - 127) / 128, 3, axis=-1))

    def convolved(x, name, norm, depthwise=False, strides=1):
        kernel = tensors[f"{name}.weight"]
        kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)
        run = keras.ops.depthwise_conv if depthwise else keras.ops.conv
        x = run(x, kernel, strides=strides, padding="same")
        mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
        scaled = (x - mean) / np.sqrt(variance + EPSILON) * tensors[f"{norm}.weight"]
        return scaled + tensors[f"{norm}.bias"]

    x = keras.ops.relu6(convolved(x, "_conv_stem", "_bn0", strides=2))
    x = keras.ops.relu6(convolved(x, "_blocks.0._depthwise_conv", "_blocks.0._bn1", depthwise=True))
    wanted = convolved(x, "_blocks.0._project_conv", "_blocks.0._bn2")
    assert np.abs(np.asarray(part(films())) - np.asarray(wanted)).max() < 1e-4


def test_gains_survive_saving_and_are_gone_where_it_serves(network, tmp_path):
    import keras

    from model.network.kinds import join_members

    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    served = join_members([network], 64)
    assert np.array_equal(np.asarray(again(films())), np.asarray(network(films())))
    assert np.abs(np.asarray(served(films())) - np.asarray(network(films()))).max() < 1e-5
    assert all(type(layer).__module__.startswith("keras.") for layer in served.layers)
    assert not any(weight.name == "gain" for weight in served.weights)


def test_the_gain_of_each_filter_is_learnt(network):
    from model.network.lite0 import BLOCKS

    names = [weight.path for weight in network.trainable_weights if weight.name == "gain"]
    assert len(names) == 1 + sum(2 + (block.expansion > 1) for block in BLOCKS) + 1
