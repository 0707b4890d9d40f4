"""Training films framed as other sites might frame them: size, aspect, position and surroundings vary.

The films are squashed to a square, so the shape of a film stretches its chest, and in the public data shape and label
are correlated. A network that sees one framing learns it; here each film has another framing each time (random resized
crops, Szegedy et al. 2015, and their opposite).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.config import Framing

EDGE_SHARE = 0.5
"""How often the surroundings of a film repeat its edge; else they are of one grey."""

BLACK_SHARE, WHITE_SHARE = 0.6, 0.15
"""How often that one grey is black or white; else it is any."""

DEEPEST = 0.15
"""Of a side's length: how far a border reaches at most."""


def framed(pixels: NDArray[np.uint8], rule: Framing, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Frame one film at random, in one bilinear resampling, and perhaps draw borders over it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (size, size)
        Squashed film, [0, 255].
    rule : Framing
        How far each of these may go.
    rng : numpy.random.Generator
        Source of chance; the same state gives the same framing.

    Returns
    -------
    ndarray of uint8, shape (size, size)
        [0, 255].
    """
    size = pixels.shape[0]
    magnified = math.exp(rng.uniform(math.log(rule.smallest), math.log(rule.largest)))
    taller = math.exp(rng.uniform(-rule.aspect, rule.aspect) / 2)
    # How much of the film's width and height is seen; above 1 its surroundings are seen too.
    across, down = taller / magnified, 1 / (magnified * taller)
    angle = math.radians(rng.uniform(-rule.rotation_degrees, rule.rotation_degrees))
    mirror = -1.0 if rule.horizontal_flip and rng.random() < 0.5 else 1.0
    middle = size / 2
    x = middle + rng.uniform(-0.5, 0.5) * abs(1 - across) * size
    y = middle + rng.uniform(-0.5, 0.5) * abs(1 - down) * size
    a, b = math.cos(angle) * across * mirror, -math.sin(angle) * across
    d, e = math.sin(angle) * down * mirror, math.cos(angle) * down
    if rng.random() < EDGE_SHARE:
        rim, fill = size, 0
        film = Image.fromarray(np.pad(pixels, rim, mode="edge"))
    else:
        rim, fill = 0, _grey(rng)
        film = Image.fromarray(pixels)
    # Pillow maps a pixel of the result to where it comes from.
    coefficients = (a, b, rim + x - (a + b) * middle, d, e, rim + y - (d + e) * middle)
    picture = film.transform(
        (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=fill
    )
    if rng.random() < rule.border:
        _draw_borders(picture, rng)
    return np.asarray(picture, dtype=np.uint8)


def _grey(rng: np.random.Generator) -> int:
    chance = rng.random()
    if chance < BLACK_SHARE:
        return 0
    return 255 if chance < BLACK_SHARE + WHITE_SHARE else int(rng.integers(256))


def _draw_borders(picture: Image.Image, rng: np.random.Generator) -> None:
    """Draw a collimator's edges, a little slanted, over any of the sides, all of one grey."""
    size, draw, fill = picture.width, ImageDraw.Draw(picture), _grey(rng)
    for side in np.flatnonzero(rng.random(4) < 0.5):
        depth = rng.uniform(0.02, DEEPEST) * size
        near, far = depth * (1 + rng.uniform(-0.3, 0.3, 2))
        corners = [(0.0, 0.0), (size, 0.0), (size, far), (0.0, near)]
        # The border of the top, turned by quarters.
        for _ in range(side):
            corners = [(size - y, x) for x, y in corners]
        draw.polygon(corners, fill=fill)
