"""Batch-normalisation statistics that fit the current weights.

The moving averages of training trail the weights by hundreds of steps, and dropout before a normalisation widens the
variance they measure. So in the first epochs the network fails in serving mode while its weights are good; the plateau
rule takes that for a plateau and lowers the learning rate. Measuring the statistics again, in serving mode, on training
films, avoids both. Weights, layers and hyper-parameters stay those of the notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.preprocess import scale

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

BATCH = 32


def settle_statistics(network: keras.Model, pixels: NDArray[np.uint8]) -> None:
    """Measure mean and variance of every batch normalisation again, from the first layer to the last.

    Parameters
    ----------
    network : keras.Model
        Changed in place: only the moving statistics.
    pixels : ndarray of uint8, shape (n, size, size)
        Squashed training films, [0, 255], without augmentation; some hundreds are enough.
    """
    import keras

    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            before = keras.Model(network.input, layer.input)
            mean, variance = _moments(before, pixels)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def _moments(part: keras.Model, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and variance of each channel that ``part`` gives over all films and places."""
    means, squares = [], []
    for start in range(0, len(pixels), BATCH):
        values = np.asarray(part(scale(pixels[start : start + BATCH])[..., np.newaxis], training=False))
        flat = values.reshape(-1, values.shape[-1])
        weight = len(values) / len(pixels)
        means.append(weight * flat.mean(axis=0, dtype=np.float64))
        squares.append(weight * np.square(flat).mean(axis=0, dtype=np.float64))
    mean = np.sum(means, axis=0)
    variance = np.maximum(np.sum(squares, axis=0) - np.square(mean), 0.0)
    return mean.astype(np.float32), variance.astype(np.float32)
