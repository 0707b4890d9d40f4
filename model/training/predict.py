"""What a network that is being trained answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.preprocess import scale

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray


def predict_logits(network: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Run a network whose output is the logit.

    Parameters
    ----------
    network : keras.Model
        In training, or trained.
    pixels : ndarray of uint8, shape (n, size, size)
        Prepared films, [0, 255].

    Returns
    -------
    ndarray of float64, shape (n,)
        Logits of pneumonia.
    """
    return predicted(network, pixels)[:, 0]


def predicted(network: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Run any network of one output tensor; as ``predict_logits``, but the result has the shape (n, outputs)."""
    return np.asarray(network.predict(scale(pixels)[..., np.newaxis], batch_size=64, verbose=0), dtype=np.float64)
