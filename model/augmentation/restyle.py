"""Random styles of training films: how a film was taken, processed and framed, varied without touching the chest.

In the public data pneumonia and style are correlated: most normal films are crisp and well exposed, most others hazy,
and the power spectrum alone separates the two with an AUC of 0.96. A network that relies on that fails on films whose
style is unlike their label's. Here every film gets, at random, the spectrum of another film (of either label),
another tone curve, blur or sharpening, noise, a collimator's border, and patches that hide markers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from model.augmentation.clahe import equalised
from model.data.spectrum import with_gain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.config import Restyle


def with_other_spectrum(
    pixels: NDArray[np.uint8], own: NDArray[np.float64], other: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Move a film's spectrum 30 to 100 % of the way to that of another film.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (size, size)
        Squashed and stretched film, [0, 255].
    own, other : ndarray of float64, shape (BANDS,)
        ``log_spectrum`` of this film and of the other one.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray of uint8, shape (size, size)
        [0, 255].
    """
    return with_gain(pixels, rng.uniform(0.3, 1.0) * (other - own))


def restyled(pixels: NDArray[np.uint8], rule: Restyle, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Give a film another frame, sharpness, tone and noise at random.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (size, size)
        Film, [0, 255].
    rule : Restyle
        How often and how far.
    rng : numpy.random.Generator
        Source of chance; the same state gives the same style.

    Returns
    -------
    ndarray of uint8, shape (size, size)
        [0, 255].
    """
    picture = Image.fromarray(pixels)
    if rng.random() < rule.border:
        _draw_border(picture, rng)
    if rng.random() < rule.patches:
        _draw_patches(picture, rng)
    if rng.random() < rule.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    elif rng.random() < rule.sharpen:
        amount = round(rng.uniform(30, 200))
        picture = picture.filter(ImageFilter.UnsharpMask(rng.uniform(0.5, 2.5), amount, 0))
    if rule.clahe and rng.random() < rule.clahe:
        picture = Image.fromarray(equalised(np.asarray(picture), limit=rng.uniform(1.5, 4.0)))
    # As serving stretches a film, but with random cutoffs: cropping and borders have changed what black and white are.
    picture = ImageOps.autocontrast(picture, cutoff=(rng.uniform(0, 3), rng.uniform(0, 3)))
    grey = _tone_curve(rule.tone, rng)[np.asarray(picture)]
    if rng.random() < rule.noise:
        grey = grey + rng.normal(0, rng.uniform(1, 9), grey.shape)
    return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)


def _draw_border(picture: Image.Image, rng: np.random.Generator) -> None:
    """Draw a dark collimator's border over one side."""
    size = picture.width
    depth = rng.uniform(0.03, 0.12) * size
    sides = ((0, 0, depth, size), (size - depth, 0, size, size), (0, 0, size, depth), (0, size - depth, size, size))
    ImageDraw.Draw(picture).rectangle(sides[rng.integers(4)], fill=int(rng.integers(40)))


def _draw_patches(picture: Image.Image, rng: np.random.Generator) -> None:
    """Hide one or two rectangles, as "cutout" does: markers, tubes and single ribs must not decide."""
    size, draw = picture.width, ImageDraw.Draw(picture)
    for _ in range(rng.integers(1, 3)):
        width, height = rng.uniform(0.05, 0.22, 2) * size
        x, y = rng.uniform(0, size, 2)
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        draw.rectangle(box, fill=int(rng.integers(256)))


def _tone_curve(strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw gamma, contrast, brightness and a slight wave: 256 grey values, which may lie outside [0, 255]."""
    level = (np.arange(256) / 255) ** np.exp(rng.uniform(-0.5, 0.5) * strength)
    level = level + rng.uniform(-0.1, 0.1) * strength * np.sin(2 * np.pi * level)
    contrast, brightness = np.exp(rng.uniform(-0.3, 0.3) * strength), rng.uniform(-0.15, 0.15) * strength
    return np.asarray(((level - 0.5) * contrast + 0.5 + brightness) * 255)
