"""Films as another site might send them: darker, flatter, blurred, bordered; to see what a network's answers lean on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Film = NDArray[np.uint8]


def _table(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Film], Film]:
    """Change every grey value by a curve from [0, 1]."""
    table = np.clip(curve(np.arange(256) / 255) * 255 + 0.5, 0, 255).astype(np.uint8)
    return lambda film: table[film]


def _blurred(film: Film) -> Film:
    return np.asarray(Image.fromarray(film).filter(ImageFilter.GaussianBlur(film.shape[0] / 160)))


def _sharpened(film: Film) -> Film:
    return np.asarray(Image.fromarray(film).filter(ImageFilter.UnsharpMask(film.shape[0] / 80, 120, 0)))


def _noisy(film: Film) -> Film:
    noise = np.random.default_rng(film.shape[0]).normal(0, 8, film.shape)
    return np.clip(film + noise, 0, 255).astype(np.uint8)


def _bordered(film: Film) -> Film:
    """A black collimator's border of 6 % on every side."""
    border, framed = round(film.shape[0] * 0.06), np.zeros_like(film)
    framed[border:-border, border:-border] = film[border:-border, border:-border]
    return framed


def _wider(film: Film) -> Film:
    """The same chest on a larger black film: 85 % of its size."""
    height, width = film.shape
    small = Image.fromarray(film).resize((round(width * 0.85), round(height * 0.85)), Image.Resampling.BILINEAR)
    framed = Image.new("L", (width, height))
    framed.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return np.asarray(framed)


def _closer(film: Film) -> Film:
    """Cropped by 6 % on every side."""
    border = round(film.shape[0] * 0.06)
    return np.ascontiguousarray(film[border:-border, border:-border])


PERTURBATIONS: Mapping[str, Callable[[Film], Film]] = {
    "as it is": lambda film: film,
    "a fifth darker": _table(lambda grey: 0.8 * grey),
    "contrast 60 %": _table(lambda grey: 0.5 + 0.6 * (grey - 0.5)),
    "gamma 0.7": _table(lambda grey: grey**0.7),
    "gamma 1.4": _table(lambda grey: grey**1.4),
    "blurred": _blurred,
    "sharpened": _sharpened,
    "noisy": _noisy,
    "black border": _bordered,
    "wider": _wider,
    "closer": _closer,
    "mirrored": lambda film: np.ascontiguousarray(film[:, ::-1]),
}
"""Each takes a film of uint8 (rows, columns) in [0, 255] and gives such a film back; the first changes nothing."""
