"""Random variants of training films, one affine transform each, by Pillow on the CPU.

The ranges and their order (zoom, then rotation, then shift, about the middle of the film) are those of Keras' former
``ImageDataGenerator``, which the notebook uses; so is the rim, which repeats the pixels of the edge. Inside the
TensorFlow graph the same work halves the training speed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.config import Augment


def augmented(pixels: NDArray[np.uint8], rule: Augment, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn, stretch, move and mirror one film at random, in one bilinear resampling.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (size, size)
        Squashed film, [0, 255].
    rule : Augment
        How far each of these may go.
    rng : numpy.random.Generator
        Source of chance; the same state gives the same variant.

    Returns
    -------
    ndarray of uint8, shape (size, size)
        [0, 255]; what comes from outside the film repeats its edge.
    """
    size = pixels.shape[0]
    angle = math.radians(rng.uniform(-rule.rotation_degrees, rule.rotation_degrees))
    zoom_x, zoom_y = rng.uniform(1 - rule.zoom, 1 + rule.zoom, 2)
    shift_x, shift_y = rng.uniform(-rule.shift, rule.shift, 2) * size
    mirror = -1.0 if rule.horizontal_flip and rng.random() < 0.5 else 1.0
    a, b = math.cos(angle) * zoom_x * mirror, -math.sin(angle) * zoom_y
    d, e = math.sin(angle) * zoom_x * mirror, math.cos(angle) * zoom_y
    # Pillow maps an output pixel to where it comes from and knows no edge mode: hence the rim, and an
    # offset that keeps the middle of the film where it is. A rim of half the side covers every draw.
    rim, middle = size // 2, size / 2
    coefficients = (
        a, b, rim + middle + shift_x - (a + b) * middle,
        d, e, rim + middle + shift_y - (d + e) * middle,
    )  # fmt: skip
    framed = Image.fromarray(np.pad(pixels, rim, mode="edge"))
    variant = framed.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(variant, dtype=np.uint8)
