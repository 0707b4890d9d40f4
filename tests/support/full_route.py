"""The film by the longest way, as the reference of the fast routes: every pixel decoded and looked up, then the means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dicom_io.film.greyscale import grey_curves
from dicom_io.pixels.decode import read_stored_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INPUT_PX = 150


def full_route(path: Path) -> NDArray[np.float64]:
    """The means of the greys of blocks, not rounded; for pictures whose sides are multiples of the block."""
    stored = read_stored_pixels(path)
    block = 1 << max(0, (min(stored.pixels.shape) // 256).bit_length() - 1)
    rows, columns = (side // block for side in stored.pixels.shape)
    greys = next(grey_curves(stored, block))[stored.pixels]
    means: NDArray[np.float64] = greys.reshape(rows, block, columns, block).mean(axis=(1, 3))
    return means


def errors(film: NDArray[np.uint8], reference: NDArray[np.float64]) -> tuple[float, float]:
    """The largest and the mean difference of the network's inputs before they are rounded, in grey levels of 255."""
    apart = np.abs(_input(film) - _input(reference))
    return float(apart.max()), float(apart.mean())


def _input(film: NDArray[np.uint8] | NDArray[np.float64]) -> NDArray[np.float32]:
    picture = Image.fromarray(film.astype(np.float32))
    return np.asarray(picture.resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR))
