"""The networks that can be trained, in the Keras 3 API alone, so that any Keras backend runs them.

A network ends in the logit. The probability is ``sigmoid(logit)`` and is taken outside the network
in double precision: the loss from logits cannot overflow, and two engines can be compared where the
sigmoid is flat.
"""

from __future__ import annotations

import keras
from keras import layers

from model.errors import ConfigError

NOTEBOOK_BLOCKS = ((32, 0.0), (64, 0.1), (64, 0.0), (128, 0.2), (256, 0.2))
"""Filters and dropout of each block of the reference network."""


def build_network(name: str, input_size: int) -> keras.Model:
    """Build an untrained network by its name.

    Parameters
    ----------
    name : str
        ``"notebook"``, the reference network.
    input_size : int
        Side of the square input in pixels.

    Returns
    -------
    keras.Model
        Input (n, input_size, input_size, 1) float32 in [0, 1]; output (n, 1) float32, the logit of
        pneumonia.

    Raises
    ------
    ConfigError
        If no network has that name.
    """
    if name != "notebook":
        raise ConfigError(f"there is no network {name!r}; the one that can be trained is 'notebook'")
    return _notebook(input_size)


def _notebook(input_size: int) -> keras.Model:
    film = keras.Input((input_size, input_size, 1), name="film")
    x = film
    for filters, dropout in NOTEBOOK_BLOCKS:
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(2, strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(film, layers.Dense(1, name="logit")(x), name="notebook")
