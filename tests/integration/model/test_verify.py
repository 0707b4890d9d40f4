"""`auscult model verify`: both engines give drawn films one score, and a bundle that two engines read apart is found."""

from __future__ import annotations

import shutil

import pytest

from dicom_io.create.phantom import drawn_chests
from model.errors import EngineError
from model.serving.bundle import load_bundle
from model.serving.engine import open_engine
from model.serving.manifest import read_manifest, write_manifest
from model.serving.verify import verify_bundle
from tests.support.helpers_bundle import shipped_bundle

pytestmark = [pytest.mark.integration, pytest.mark.tensorflow, pytest.mark.slow]


def test_the_shipped_network_is_the_same_in_both_engines():
    found = verify_bundle(shipped_bundle(), drawn_chests())
    assert found.equal
    assert found.engines == ("litert", "keras")
    assert found.logit_difference is not None
    assert found.probability_difference is not None
    assert found.logit_difference <= 1e-4
    assert found.probability_difference <= 1e-5
    assert [(score.film, score.engine) for score in found.scores] == [
        ("NORMAL", "litert"),
        ("OPACIFIED", "litert"),
        ("NORMAL", "keras"),
        ("OPACIFIED", "keras"),
    ]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_networks_that_are_not_the_same_are_found(tmp_path):
    """A Keras network with other weights beside the same LiteRT one, with digests that fit."""
    import keras

    mixed = tmp_path / "mixed-1"
    shutil.copytree(shipped_bundle().path, mixed)
    network = keras.saving.load_model(mixed / "model.keras", compile=False)
    last = next(layer for layer in reversed(network.layers) if layer.weights)
    last.set_weights([weight + 0.01 for weight in last.get_weights()])
    network.save(mixed / "model.keras")
    write_manifest(mixed, {**read_manifest(shipped_bundle().path), "name": "mixed"})
    found = verify_bundle(load_bundle(mixed), drawn_chests())
    assert not found.equal
    assert found.logit_difference is not None
    assert found.logit_difference > 1e-4


def test_a_network_that_brings_code_of_its_own_is_refused(tmp_path):
    import keras

    hostile = tmp_path / "hostile-1"
    shutil.copytree(shipped_bundle().path, hostile)
    size = shipped_bundle().input_size
    inputs = keras.Input((size, size, 1))
    code = keras.layers.Lambda(lambda mean: mean * 2.0, output_shape=(1,))
    keras.Model(inputs, code(keras.layers.GlobalAveragePooling2D()(inputs))).save(hostile / "model.keras")
    write_manifest(hostile, {**read_manifest(shipped_bundle().path), "name": "hostile"})
    with pytest.raises(EngineError, match="Keras cannot open the network of hostile-1"):
        open_engine(load_bundle(hostile), "keras")
