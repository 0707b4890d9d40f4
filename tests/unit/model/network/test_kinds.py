"""The residual network: its kernels, what saving keeps of it, and how members are served as one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model.config import NetworkSpec
from model.errors import ConfigError

if TYPE_CHECKING:
    import keras

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.slow,
    # Keras' variables under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SMALL = NetworkSpec("residual", width=4, blocks=(1, 2), dropout=0.3)
LOGITS_ALONE = """
import sys
import keras
import numpy as np

network = keras.saving.load_model(sys.argv[1], compile=False)
assert not [name for name in sys.modules if name.split(".")[0] in ("model", "worker")]
np.save(sys.argv[3], network.predict(np.load(sys.argv[2]), verbose=0))
"""


def films(n: int, size: int, seed: int = 3) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).random((n, size, size, 1), dtype=np.float32)


def trained(seed: int, spec: NetworkSpec = SMALL) -> keras.Model:
    """A network no weight of which is where it began: also the gains, the first of which are 0."""
    import keras

    from model.network.kinds import build_network

    keras.utils.set_random_seed(seed)
    network = build_network(spec, 32)
    rng = np.random.default_rng(seed)
    network.set_weights([value + rng.normal(0, 0.3, value.shape) for value in network.get_weights()])
    return network


def logits(network: keras.Model, inputs: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, Any]:
    return np.asarray(network(inputs, training=False), dtype=np.float64)[:, 0]


@pytest.mark.parametrize("first_gain", [1.0, 0.0])
def test_a_kernel_has_mean_0_and_the_variance_its_gain_asks_for(first_gain):
    from model.network.kinds import StandardisedConv2D

    layer = StandardisedConv2D(6, 3, scale=1.7, first_gain=first_gain)
    layer.build((None, 16, 16, 5))
    assert np.asarray(layer.gain) == pytest.approx(np.full(6, first_gain))
    rng = np.random.default_rng(8)
    gains = rng.normal(0, 2, 6).astype(np.float32)
    layer.set_weights([rng.normal(7, 3, (3, 3, 5, 6)), np.zeros(6), gains])
    kernel = np.asarray(layer.effective_kernel(), dtype=np.float64)
    assert kernel.mean(axis=(0, 1, 2)) == pytest.approx(np.zeros(6), abs=1e-6)
    assert kernel.var(axis=(0, 1, 2)) == pytest.approx(np.square(1.7 * gains) / 45, rel=1e-4)


def test_a_convolution_is_that_with_the_standardised_kernel():
    import keras

    from model.network.kinds import StandardisedConv2D

    layer = StandardisedConv2D(3, 3, padding="same", scale=1.3)
    layer.build((None, 9, 9, 2))
    rng = np.random.default_rng(9)
    layer.set_weights([rng.normal(1, 2, (3, 3, 2, 3)), rng.normal(0, 1, 3), rng.normal(1, 0.5, 3)])
    inputs = rng.normal(0, 1, (2, 9, 9, 2)).astype(np.float32)
    wanted = keras.ops.conv(inputs, layer.effective_kernel(), padding="same") + np.asarray(layer.bias)
    assert np.asarray(layer(inputs)) == pytest.approx(np.asarray(wanted), abs=1e-5)
    plain = keras.ops.conv(inputs, layer.kernel, padding="same") + np.asarray(layer.bias)
    assert np.abs(np.asarray(layer(inputs)) - np.asarray(plain)).max() > 0.1


@pytest.mark.parametrize("name", ["network.keras", "network.weights.h5"])
def test_saving_keeps_every_weight_and_the_gains_too(tmp_path, name):
    import keras

    from model.network.kinds import StandardisedConv2D, build_network

    network, path = trained(1), tmp_path / name
    if name.endswith(".h5"):
        network.save_weights(path)
        again = build_network(SMALL, 32)
        again.load_weights(path)
    else:
        network.save(path)
        again = keras.saving.load_model(path)
    gains = [layer.gain for layer in again.layers if isinstance(layer, StandardisedConv2D)]
    assert len(gains) == 8
    assert all(np.abs(np.asarray(gain)).min() > 0 for gain in gains)
    for kept, value in zip(again.get_weights(), network.get_weights(), strict=True):
        assert np.array_equal(kept, value)
    assert np.array_equal(logits(again, films(4, 32)), logits(network, films(4, 32)))


def test_a_layer_is_made_again_from_its_configuration():
    from model.network.kinds import StandardisedConv2D

    layer = StandardisedConv2D(3, 5, strides=2, scale=0.7, first_gain=0.25)
    again = StandardisedConv2D.from_config(layer.get_config())
    assert (again.scale, again.first_gain, again.filters, again.strides) == (0.7, 0.25, 3, (2, 2))


def test_a_branch_begins_as_nothing_and_the_signal_neither_dies_nor_explodes():
    import keras

    from model.network.kinds import StandardisedConv2D, build_network

    keras.utils.set_random_seed(5)
    network = build_network(NetworkSpec("residual", width=16, blocks=(1, 2, 1)), 64)
    branches = [layer for layer in network.layers if isinstance(layer, StandardisedConv2D) and layer.first_gain == 0]
    assert len(branches) == 4
    inputs = np.random.default_rng(4).normal(0.5, 0.25, (8, 64, 64, 1)).astype(np.float32)
    for layer in branches:
        assert np.abs(np.asarray(keras.Model(network.input, layer.output)(inputs))).max() == 0
    sums = [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]
    for layer in sums:
        values = np.asarray(keras.Model(network.input, layer.output)(inputs))
        assert 0.02 < values.var() < 5


def test_a_residual_network_takes_any_size_and_keeps_its_weights_in_float32():
    network = trained(2, NetworkSpec("residual", width=4, blocks=(1, 1), precision="bfloat16"))
    assert {str(weight.dtype) for weight in network.weights} == {"float32"}
    assert {layer.compute_dtype for layer in network.layers if "conv" in layer.name} == {"bfloat16"}
    for size in (32, 47, 96):
        found = network(films(2, size), training=False)
        assert (found.shape, found.dtype) == ((2, 1), "float32")


def test_an_unknown_kind_of_network_is_refused():
    from model.network.kinds import build_network

    with pytest.raises(ConfigError, match="no network 'transformer'"):
        build_network(NetworkSpec("transformer"), 32)


@pytest.mark.parametrize("count", [1, 3])
def test_joined_members_answer_with_the_mean_of_their_logits_at_another_size(count):
    import keras

    from model.network.kinds import join_members

    members = [trained(seed) for seed in range(count)]
    joined = join_members(members, 48)
    assert joined.input_shape == (None, 48, 48, 1)
    assert joined.output_shape == (None, 1)
    inputs = films(5, 48)
    wanted = np.mean([logits(member, inputs) for member in members], axis=0)
    assert np.ptp(wanted) > 1e-3
    assert logits(joined, inputs) == pytest.approx(wanted, abs=1e-5)
    assert all(type(layer).__module__.startswith("keras.") for layer in joined.layers)
    assert len({layer.name for layer in joined.layers}) == len(joined.layers)
    assert {layer.compute_dtype for layer in joined.layers} | {str(value.dtype) for value in joined.weights} == {
        "float32"
    }
    assert keras.config.floatx() == "float32"


def test_members_of_bfloat16_are_served_in_float32():
    from model.network.kinds import join_members

    exact = NetworkSpec("residual", width=4, blocks=(1, 1), precision="float32")
    rough = NetworkSpec("residual", width=4, blocks=(1, 1), precision="bfloat16")
    inputs = films(6, 40)
    joined = join_members([trained(seed, rough) for seed in (1, 2)], 40)
    assert {layer.compute_dtype for layer in joined.layers} == {"float32"}
    wanted = np.mean([logits(trained(seed, exact), inputs) for seed in (1, 2)], axis=0)
    assert logits(joined, inputs) == pytest.approx(wanted, abs=1e-5)


def test_what_is_served_needs_none_of_our_code(tmp_path):
    from model.network.kinds import join_members

    joined = join_members([trained(seed) for seed in (1, 2)], 40)
    joined.save(tmp_path / "joined.keras")
    np.save(tmp_path / "films.npy", films(3, 40))
    paths = [str(tmp_path / name) for name in ("joined.keras", "films.npy", "logits.npy")]
    # Not in the checkout, and isolated: nothing of ours can be found by chance.
    command = [sys.executable, "-W", "ignore", "-c", LOGITS_ALONE, *paths]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "logits.npy")[:, 0] == pytest.approx(logits(joined, films(3, 40)), abs=1e-5)
