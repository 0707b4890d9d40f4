"""Step 5 of the flow: statistics of a film that separate radiographs of a chest from other pictures.

They need no network and take about a millisecond. The limits were set on the 5,216 films of the training set and on
drawn test patterns; ``tests/unit/dicom_io/gate/test_picture_statistics.py`` repeats both. The smallest or largest value
of a real film is noted at each limit, and each limit keeps a distance from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PictureStatistics", "picture_statistics"]

#: Grey levels between the first and the last hundredth of the pixels. Training films: 91 and more.
_MIN_SPREAD = 32
#: Grey levels in use, as the exponential of the entropy of the histogram. Fewer levels show a pattern, except in a film
#: of small spread, for which a share of the spread is enough. Training films: at least 62, and at least 0.32 of their
#: spread at any contrast.
_MIN_GREYS, _MIN_GREYS_OF_SPREAD = 40.0, 0.25
#: The share of the pixels that must lie between black and white for black and white to be left out of the greys.
_MIN_BETWEEN = 0.5
#: Share of the variance that is left in a 32 x 32 thumbnail. Training films: 0.77 and more.
_MIN_COARSE = 0.6
#: Share of the thumbnail's variance that one profile down and one across explain. Training films: 0.97 and less.
_MAX_ADDITIVE = 0.985
#: Share of the variance that two greys explain, of the film or its thumbnail. Training films: 0.93 and less.
_MAX_TWO_TONE = 0.95
#: Mean second difference of the thumbnail in standard deviations: smooth shapes are below the limits, grids above.
#: Training films: 0.24 to 1.23.
_MIN_ROUGHNESS, _MAX_ROUGHNESS = 0.12, 2.0
#: Correlation with the mean training film. Training films: 0.27 and more, so their negatives -0.27 and less.
_MAX_NEGATIVE = -0.25
#: The same for a header whose elements contradict each other about the polarity.
_MAX_NEGATIVE_IF_TAGS_CONTRADICT = 0.0

_THUMBNAIL_PX = 32
_TEMPLATE_PX = 8
# Greys between those of a collimator's shadow and of a burnt-out border, and the share of a line that must have them.
_DARKEST, _BRIGHTEST = 8, 247
_BODY_SHARE = 0.05
_SMALLEST_BODY_PX = 64

#: The mean of the training films at 8 x 8, each film with mean 0 and variance 1, times 100: dark lungs and background
#: around a white spine, heart and belly.
_MEAN_CHEST = np.array(
    [
        [-94, -44, 4, 69, 69, 4, -46, -101],
        [-93, 8, 25, 61, 62, 28, 5, -96],
        [-120, 17, -13, 61, 73, 0, 16, -121],
        [-138, 4, -28, 82, 105, 12, 7, -140],
        [-144, -19, -22, 98, 122, 46, -9, -148],
        [-147, -36, -16, 96, 123, 61, -24, -152],
        [-143, 11, 73, 121, 127, 80, -8, -152],
        [-129, 77, 130, 145, 139, 110, 53, -140],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True, slots=True)
class PictureStatistics:
    """Statistics of the exposed field of a film, for the rules of the gate.

    Attributes
    ----------
    spread : int
        Grey levels between the first and the last hundredth of the pixels, 0 to 255.
    greys : float
        Grey levels in use, 1 to 256: the exponential of the entropy of the histogram, without black and white unless
        they are half of it (a narrow window makes large parts of any film black and white).
    coarse : float
        Share of the variance that the thumbnail keeps, about 0 (grain, fine grids) to 1 (shapes).
    additive : float
        Share of the thumbnail's variance that one profile down and one across explain together, 0 to 1 (ramps).
    two_tone : float
        Share of the variance that two greys explain, of the film or its thumbnail, 0 to 1.
    roughness : float
        Mean second difference of the thumbnail in standard deviations, 0 to 8.
    chest : float
        Correlation with the mean chest, -1 (its negative) to 1.
    turned_chest : float
        The best correlation with the mean chest turned by 90, 180 or 270 degrees.
    """

    spread: int
    greys: float
    coarse: float
    additive: float
    two_tone: float
    roughness: float
    chest: float
    turned_chest: float

    @property
    def is_constant(self) -> bool:
        """Whether the film is blank: all pixels but a hundredth at either end are within 32 grey levels."""
        return self.spread < _MIN_SPREAD

    @property
    def is_test_pattern(self) -> bool:
        """Whether the film is a drawing or phantom: few greys, grain without shapes, ramps, two tones, blobs or grids."""
        return (
            self.greys < min(_MIN_GREYS, _MIN_GREYS_OF_SPREAD * self.spread)
            or self.coarse < _MIN_COARSE
            or self.additive > _MAX_ADDITIVE
            or self.two_tone > _MAX_TWO_TONE
            or not _MIN_ROUGHNESS <= self.roughness <= _MAX_ROUGHNESS
        )

    def is_inverted(self, *, tags_contradict: bool) -> bool:
        """Whether the film is more like the negative of an upright chest than like a turned chest.

        Parameters
        ----------
        tags_contradict : bool
            Whether Photometric Interpretation and Pixel Intensity Relationship Sign contradict each other. That alone
            is no proof (it is so in 96 of 7,469 real films), but then a weaker correlation is enough.

        Returns
        -------
        bool
            True for a negative.
        """
        limit = _MAX_NEGATIVE_IF_TAGS_CONTRADICT if tags_contradict else _MAX_NEGATIVE
        return self.chest < limit and -self.chest > self.turned_chest


def picture_statistics(pixels: NDArray[np.uint8]) -> PictureStatistics:
    """Compute the statistics of a film.

    Dark or burnt-out borders, as a collimator leaves them, are cut off first.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns), uint8, MONOCHROME2.

    Returns
    -------
    PictureStatistics
        Of the exposed field.
    """
    picture = Image.fromarray(_exposed(pixels))
    histogram = np.array(picture.histogram()) / (picture.width * picture.height)
    thumbnail = _reduced(picture, _THUMBNAIL_PX)
    chest, *turned = _correlations(_reduced(picture, _TEMPLATE_PX))
    return PictureStatistics(
        spread=_spread(histogram),
        greys=_greys(histogram),
        coarse=_share(float(thumbnail.var()), _variance(histogram)),
        additive=_additive(thumbnail),
        two_tone=max(_two_tone(histogram), _two_tone(_histogram_of(thumbnail))),
        roughness=_roughness(thumbnail),
        chest=chest,
        turned_chest=max(turned),
    )


def _exposed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut the film to the rows and columns with middle greys; the whole film if these are too few."""
    body = (pixels > _DARKEST) & (pixels < _BRIGHTEST)
    rows = np.flatnonzero(np.count_nonzero(body, axis=1) / body.shape[1] > _BODY_SHARE)
    columns = np.flatnonzero(np.count_nonzero(body, axis=0) / body.shape[0] > _BODY_SHARE)
    if min(np.ptp(rows) if rows.size else 0, np.ptp(columns) if columns.size else 0) < _SMALLEST_BODY_PX:
        return np.ascontiguousarray(pixels)
    return np.ascontiguousarray(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _reduced(picture: Image.Image, side_px: int) -> NDArray[np.float64]:
    return np.asarray(picture.resize((side_px, side_px), Image.Resampling.BOX), dtype=np.float64)


def _spread(histogram: NDArray[np.float64]) -> int:
    below = histogram.cumsum()
    return int(np.searchsorted(below, 0.99) - np.searchsorted(below, 0.01))


def _greys(histogram: NDArray[np.float64]) -> float:
    between = histogram[1:-1]
    used = between / between.sum() if between.sum() >= _MIN_BETWEEN else histogram
    used = used[used > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


def _variance(histogram: NDArray[np.float64]) -> float:
    greys = np.arange(histogram.size)
    mean = float(histogram @ greys)
    return float(histogram @ (greys - mean) ** 2)


def _additive(thumbnail: NDArray[np.float64]) -> float:
    rest = thumbnail - thumbnail.mean(axis=1, keepdims=True) - thumbnail.mean(axis=0, keepdims=True) + thumbnail.mean()
    return 1 - _share(float(rest.var()), float(thumbnail.var()))


def _histogram_of(thumbnail: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(thumbnail.astype(np.uint8).ravel(), minlength=256) / thumbnail.size


def _two_tone(histogram: NDArray[np.float64]) -> float:
    """The variance between two classes as a share of all, at the best limit between them (Otsu 1979)."""
    weight, moment = histogram.cumsum(), (histogram * np.arange(histogram.size)).cumsum()
    inner = (weight > 0) & (weight < 1 - 1e-9)
    below, mean = weight[inner], moment[-1]
    between = (mean * below - moment[inner]) ** 2 / (below * (1 - below))
    return _share(float(between.max(initial=0.0)), _variance(histogram))


def _roughness(thumbnail: NDArray[np.float64]) -> float:
    bends = sum(float(np.abs(np.diff(thumbnail, 2, axis)).mean()) for axis in (0, 1))
    return _share(bends, float(thumbnail.std()))


def _correlations(tiny: NDArray[np.float64]) -> list[float]:
    """The correlations with the mean chest as it is, and turned by 90, 180 and 270 degrees."""
    one = tiny - tiny.mean()
    variance = float((one**2).sum())
    return [_share(float((one * other).sum()), math.sqrt(variance * of_other)) for other, of_other in _TURNED_CHESTS]


def _turned(turns: int) -> tuple[NDArray[np.float64], float]:
    """The mean chest, turned, less its mean; and the sum of its squares."""
    chest = np.rot90(_MEAN_CHEST, turns)
    chest = chest - chest.mean()
    return chest, float((chest**2).sum())


_TURNED_CHESTS = tuple(_turned(turns) for turns in range(4))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
