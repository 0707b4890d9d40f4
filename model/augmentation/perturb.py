"""Films changed as another site might send them (cropped, bordered, darker, sharper), to test a network's answers.

Half of the changes are used to fit the calibration and the operating point; the other half checks whether they hold
(``operating_point``). Framing, tone and sharpness are in both halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from model.augmentation.clahe import equalised

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]


class Role(StrEnum):
    """Whether the films changed this way help to fit the operating point, or check it. The values are in bundles."""

    FIT = "fit"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One way to change a film: ``change`` takes and returns a film, uint8 (rows, columns) in [0, 255]."""

    name: str
    role: Role
    change: Callable[[Grey], Grey]


def _table(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Grey], Grey]:
    """Change every grey value by a curve from [0, 1]."""
    table = np.clip(curve(np.arange(256) / 255) * 255 + 0.5, 0, 255).astype(np.uint8)
    return lambda film: table[film]


def _blurred(film: Grey) -> Grey:
    return np.asarray(Image.fromarray(film).filter(ImageFilter.GaussianBlur(film.shape[0] / 160)))


def _sharpened(film: Grey) -> Grey:
    return np.asarray(Image.fromarray(film).filter(ImageFilter.UnsharpMask(film.shape[0] / 80, 120, 0)))


def _noisy(film: Grey) -> Grey:
    noise = np.random.default_rng(film.shape[0]).normal(0, 8, film.shape)
    return np.clip(film + noise, 0, 255).astype(np.uint8)


def _cropped(rows: float, columns: float) -> Callable[[Grey], Grey]:
    """Crop these shares off the top and off the bottom, off the left and off the right."""

    def change(film: Grey) -> Grey:
        top, left = round(film.shape[0] * rows), round(film.shape[1] * columns)
        return np.ascontiguousarray(film[top : film.shape[0] - top, left : film.shape[1] - left])

    return change


def _bordered(film: Grey) -> Grey:
    """A collimator's black border of 6 % on every side, over the film."""
    border, framed = round(film.shape[0] * 0.06), np.zeros_like(film)
    framed[border:-border, border:-border] = film[border:-border, border:-border]
    return framed


def _between_bands(film: Grey) -> Grey:
    """The whole film between black bands, each a tenth of its width, as where films are padded to one shape."""
    return np.pad(film, ((0, 0), (round(film.shape[1] * 0.1),) * 2))


def _wider(film: Grey) -> Grey:
    """The same chest on a larger black film: 85 % of its size."""
    height, width = film.shape
    small = Image.fromarray(film).resize((round(width * 0.85), round(height * 0.85)), Image.Resampling.BILINEAR)
    framed = Image.new("L", (width, height))
    framed.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return np.asarray(framed)


_brighter = _table(lambda grey: grey**0.7)
_closer = _cropped(0.06, 0.06)

UNCHANGED = "as it is"
PERTURBATIONS = (
    Perturbation(UNCHANGED, Role.FIT, lambda film: film),
    Perturbation("a fifth darker", Role.FIT, _table(lambda grey: 0.8 * grey)),
    Perturbation("gamma 0.7", Role.FIT, _brighter),
    Perturbation("CLAHE", Role.FIT, equalised),
    Perturbation("blurred", Role.FIT, _blurred),
    Perturbation("sharpened", Role.FIT, _sharpened),
    Perturbation("black border", Role.FIT, _bordered),
    Perturbation("wider", Role.FIT, _wider),
    Perturbation("closer", Role.FIT, _closer),
    Perturbation("top and bottom cropped", Role.FIT, _cropped(0.1, 0)),
    Perturbation("contrast 60 %", Role.CHECK, _table(lambda grey: 0.5 + 0.6 * (grey - 0.5))),
    Perturbation("gamma 1.4", Role.CHECK, _table(lambda grey: grey**1.4)),
    Perturbation("gamma 0.7 and blurred", Role.CHECK, lambda film: _blurred(_brighter(film))),
    Perturbation("noisy", Role.CHECK, _noisy),
    Perturbation("side borders", Role.CHECK, _between_bands),
    Perturbation("closer by 12 %", Role.CHECK, _cropped(0.12, 0.12)),
    Perturbation("left and right cropped", Role.CHECK, _cropped(0, 0.1)),
    Perturbation("closer, black border", Role.CHECK, lambda film: _bordered(_closer(film))),
    Perturbation("mirrored", Role.CHECK, lambda film: np.ascontiguousarray(film[:, ::-1])),
)
"""The first changes nothing; the rows of a stress table, in this order."""
