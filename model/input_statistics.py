"""What a film looks like before its grey is stretched, in five numbers: exposure, contrast, borders and sharpness.

They say whether the pictures of a site change (``model.drift``). The network's input itself says less: its grey is
stretched, so that exposure is not seen in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 160
"""Side of the square, in pixels, in which films of any size are compared."""

_DARKEST, _BRIGHTEST = 8, 247


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """Statistics of one film, squashed to 160 x 160.

    Attributes
    ----------
    mean_grey : float
        Mean grey, 0 (black) to 255 (white): exposure and window.
    contrast : float
        Standard deviation of the grey, 0 to 127.5.
    dark_share : float
        Share of pixels of grey 8 or less, 0 to 1: black borders, collimation, narrow windows.
    bright_share : float
        Share of pixels of grey 247 or more, 0 to 1: burnt-out parts, white borders.
    sharpness : float
        Mean difference of neighbouring pixels in standard deviations, 0 to about 2: sharpening, blur, noise. It does not
        depend on exposure and contrast, unless they clip.
    """

    mean_grey: float
    contrast: float
    dark_share: float
    bright_share: float
    sharpness: float


def input_statistics(film: NDArray[np.uint8]) -> InputStatistics:
    """Measure a film.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey film, MONOCHROME2, not empty.

    Returns
    -------
    InputStatistics
    """
    # `reducing_gap`: a large film is halved by whole factors first, which takes a third of the time.
    small = Image.fromarray(film).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    grey = np.asarray(small, dtype=np.float32)
    contrast = float(grey.std())
    steps = float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
    return InputStatistics(
        mean_grey=float(grey.mean()),
        contrast=contrast,
        dark_share=float((grey <= _DARKEST).mean()),
        bright_share=float((grey >= _BRIGHTEST).mean()),
        sharpness=steps / contrast if contrast > 0 else 0.0,
    )
