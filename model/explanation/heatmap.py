"""Evidence as colour: warm colours speak for pneumonia, cool ones against it; weak evidence leaves the film clear.

Each of the two ramps is a straight line in OKLab (Ottosson 2020, "A perceptual color space for image processing"), so
equal steps of evidence look equally far apart. They differ along blue and yellow, which red-green colour blindness does
not affect, and both grow lighter, so that strength is visible without any colour vision. What speaks against pneumonia
is drawn fainter: a radiologist looks for what speaks for it, and a film without that should look calm. The scale is
fixed for a model and not fitted to the film (``explain.full_evidence``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 256
"""Colours of each ramp."""

WARM = ((0.55, 0.17, 0.09), (0.91, 0.0, 0.17))
COOL = ((0.42, -0.02, -0.17), (0.74, -0.07, -0.10))
"""Ends of the ramps in OKLab (lightness, green to red, blue to yellow), weak to full: red to yellow, blue to cyan."""

WARM_OPACITY, COOL_OPACITY = 0.70, 0.45
"""Opacity at full evidence: the film below stays visible."""

# Ottosson's OKLab to linear sRGB: first to cube roots of cone responses, then from the responses.
_TO_CONES = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def ramp(ends: tuple[tuple[float, float, float], tuple[float, float, float]]) -> NDArray[np.uint8]:
    """Colours along a straight line in OKLab.

    Parameters
    ----------
    ends : pair of (lightness, a, b)
        First and last colour in OKLab; lightness in [0, 1].

    Returns
    -------
    ndarray of uint8, shape (STEPS, 3)
        sRGB; what lies outside sRGB is clipped to it.
    """
    weak, full = np.array(ends)
    line = weak + (full - weak) * np.linspace(0, 1, STEPS)[:, np.newaxis]
    linear = ((line @ _TO_CONES.T) ** 3 @ _TO_RGB.T).clip(0, 1)
    # IEC 61966-2-1, the transfer function of sRGB
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), dtype=np.uint8)


def tinted(grey: NDArray[np.uint8], evidence: NDArray[np.float32], full: float) -> NDArray[np.uint8]:
    """Lay evidence over a picture.

    Parameters
    ----------
    grey : ndarray of uint8, shape (rows, columns)
        The film, MONOCHROME2.
    evidence : ndarray of float32, the same shape
        In logits, positive towards pneumonia.
    full : float
        The strength of evidence, in logits, that gets the last colour of its ramp; more looks the same.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        sRGB.
    """
    strength = (np.abs(evidence) / full).clip(0, 1)
    step = np.rint(strength * (STEPS - 1)).astype(np.intp)
    is_for = (evidence > 0)[..., np.newaxis]
    colour = np.where(is_for, ramp(WARM)[step], ramp(COOL)[step])
    share = np.where(is_for, WARM_OPACITY, COOL_OPACITY) * strength[..., np.newaxis]
    return np.asarray(np.rint(grey[..., np.newaxis] * (1 - share) + colour * share), dtype=np.uint8)
