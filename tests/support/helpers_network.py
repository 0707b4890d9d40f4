"""Small networks with the layers of those that are served, and the files of a bundle around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.config import NetworkSpec

if TYPE_CHECKING:
    from pathlib import Path

    import keras

SIDE = 64


@dataclass(frozen=True)
class Files:
    """What engines need of a bundle."""

    path: Path
    label: str = "drawn-1"
    input_size: int = SIDE

    @property
    def keras_path(self) -> Path:
        return self.path / "model.keras"

    @property
    def litert_path(self) -> Path:
        return self.path / "model.tflite"


def scattered(network: keras.Model, seed: int) -> keras.Model:
    """The network with no weight where it began; variances stay above 0."""
    rng = np.random.default_rng(seed)
    network.set_weights(
        [
            np.abs(value + rng.normal(0, 0.3, value.shape)) + 0.1
            if "variance" in weight.path
            else value + rng.normal(0, 0.3, value.shape)
            for weight, value in zip(network.weights, network.get_weights(), strict=True)
        ]
    )
    return network


def residual(seed: int) -> keras.Model:
    import keras

    from model.network.kinds import build_network

    keras.utils.set_random_seed(seed)
    return scattered(build_network(NetworkSpec("residual", width=4, blocks=(1, 1), dropout=0.3), SIDE), seed)


def mobile(seed: int) -> keras.Model:
    """A small network with the layers of EfficientNet-Lite0: inverted residuals, ReLU6, normalisation, a wide last layer."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    film = keras.Input((SIDE, SIDE, 1), name="film")
    x = layers.Rescaling(4.0, offset=-2.0)(film)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    branch = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(x)))
    branch = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(branch)
    branch = layers.Conv2D(8, 1)(layers.ReLU(6.0)(layers.BatchNormalization()(branch)))
    x = layers.Add()([x, branch])
    x = layers.DepthwiseConv2D(5, strides=4, padding="same")(x)
    x = layers.ReLU(6.0)(layers.Conv2D(160, 1)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return scattered(keras.Model(film, layers.Dense(1, name="logit")(x)), seed)


def flattened() -> keras.Model:
    import keras
    from keras import layers

    film = keras.Input((SIDE, SIDE, 1), name="film")
    x = layers.Conv2D(4, 3, strides=8, activation="relu")(film)
    return keras.Model(film, layers.Dense(1, name="logit")(layers.Flatten()(x)))


def written(network: keras.Model, folder: Path) -> Files:
    """The network in the files of a bundle, as an export writes it."""
    from model.network.outputs import with_terms

    files = Files(folder)
    network.save(files.keras_path)
    with_terms(network).export(files.litert_path, format="litert", verbose=False)
    return files
