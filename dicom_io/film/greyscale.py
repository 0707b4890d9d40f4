"""Step 6b of the flow: stored values -> display greys, as one look-up table.

The whole grey-scale chain of DICOM is a function of the stored value alone, so it is computed once for each of the at
most 65,536 values of a pixel and applied by indexing::

    stored value                                                      PS3.3 C.7.6.3, PS3.5 8.1.1
      -> Modality LUT sequence, else rescale slope and intercept      PS3.3 C.11.1
      -> VOI LUT sequence, else window, else full range up to 8 bits,
         else the automatic window                                    PS3.3 C.11.2
      -> inversion, once, for MONOCHROME1 or Presentation LUT Shape INVERSE
                                                                      PS3.3 C.7.6.3.1.2, C.11.6, PS3.4 N.2
      -> Presentation LUT sequence                                    PS3.3 C.11.4, PS3.4 H.2.1.2

Each transform is applied if it is present and usable, and left out otherwise. A DX object must have both MONOCHROME1
and INVERSE (PS3.3 C.8.11.3); either one inverts, also where they contradict each other. Elements that transform nothing
are not read: Modality LUT Type and Rescale Type (units), the explanations of windows and LUTs, and overlays. Pixel
Intensity Relationship (PS3.3 C.8.11.3.1.2: "not intended to be applied for presentation") is used for the automatic
window only.

**The automatic window** runs from the 0.5th to the 99.5th percentile of the picture reduced to its film, without
padding and without what the collimator hides. Linear intensities of a detector (Pixel Intensity Relationship LIN) are
first replaced by their logarithm, in the direction of the sign, as film and every display of radiographs do: on the
linear scale the air beside the child takes nearly all greys. LOG and DISP are used as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dicom_io.film.luts import Floats, first_lut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicom_io.film.shutter import Mask
    from dicom_io.header.elements import Elements
    from dicom_io.pixels.decode import Frame, StoredPixels
    from dicom_io.pixels.pixel_header import PixelHeader

    Described = StoredPixels | Frame
    Means = Callable[[], Floats]

_RESCALE_INTERCEPT, _RESCALE_SLOPE, MODALITY_LUT = 0x00281052, 0x00281053, 0x00283000
_WINDOW_CENTER, _WINDOW_WIDTH, _VOI_FUNCTION, VOI_LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
_RELATIONSHIP, _RELATIONSHIP_SIGN = 0x00281040, 0x00281041
PRESENTATION_LUT, _PRESENTATION_SHAPE = 0x20500010, 0x20500020

#: The ends of the automatic window, as percentiles of the pixels of the film.
PERCENTILES = (0.5, 99.5)
#: A slope or width below the least, and any number above the most, is not a plausible unit and breaks the arithmetic.
_LEAST, _MOST = 1e-12, 1e12
#: A picture whose automatic window is narrower, in stored values, has no contrast that a wrong window could hide.
_LEAST_CONTRAST = 16

Table = NDArray[np.uint8]


def grey_table(stored: StoredPixels, block: int, visible: Mask | None = None) -> Table:
    """Compute the display grey of every possible stored value by the header.

    Parameters
    ----------
    stored : StoredPixels
        A grey picture.
    block : int
        The side of the blocks, in pixels, that become one pixel of the film. The automatic window is taken from the
        picture reduced in this way, in which single hot pixels and noise do not count.
    visible : numpy.ndarray or None
        Shape (rows, columns), bool: the pixels that count for the automatic window; None for all.

    Returns
    -------
    numpy.ndarray
        Shape (2 ** BitsStored,), uint8, MONOCHROME2; the index is the stored value's bits without sign extension.
    """
    return table_of(next(grey_curves(stored, block, visible)))


def grey_curves(
    stored: StoredPixels, block: int, visible: Mask | None = None, means: Means | None = None
) -> Iterator[Floats]:
    """Iterate over the curves by which a film may be shown, the best first.

    Parameters
    ----------
    stored, block, visible
        As for ``grey_table``.
    means : callable or None
        Returns the mean stored values of the blocks that lie wholly within the picture, if they are known.

    Yields
    ------
    numpy.ndarray
        Shape (2 ** BitsStored,), 0 to 255, not rounded; at least one: by the first usable VOI LUT, by the first usable
        window, by the automatic window. A caller takes the next one if a curve shows nothing, because the centre is
        outside the data or the width is far too large. After a LUT or window of the header the automatic window follows
        only for a picture with contrast, so that a blank film stays blank.
    """
    is_declared = False
    for curve in declared_curves(stored):
        is_declared = True
        yield curve
    least = _LEAST_CONTRAST if is_declared else 0
    automatic = _automatic_greys(stored, block, visible, means, least=least)
    if automatic is not None:
        yield _display(automatic, stored)


def declared_curves(described: Described) -> Iterator[Floats]:
    """Iterate over the curves that the header declares, as ``grey_curves`` does: by VOI LUT, by window.

    Parameters
    ----------
    described : StoredPixels or Frame
        A grey picture, decoded or not.

    Yields
    ------
    numpy.ndarray
        As ``grey_curves``; none if the header has neither.
    """
    for greys in _voi_greys(modality_values(described), described.elements):
        yield _display(greys, described)


def table_of(curve: Floats) -> Table:
    """Round a curve to the grey of each stored value."""
    table: Table = np.rint(curve).astype(np.uint8)
    return table


def _display(greys: Floats, described: Described) -> Floats:
    """Apply inversion and presentation LUT to VOI greys of 0 to 255."""
    if inverted_by(described):
        greys = 255 - greys
    lut = first_lut(described.elements, PRESENTATION_LUT)
    if lut is not None:
        greys = lut.of_shares(greys / 255) / lut.white * 255
    return greys.clip(0, 255)


def inverted_by(described: Described) -> tuple[str, ...]:
    """The elements of the header that ask for black and white to be exchanged; any of them inverts, and once only."""
    is_monochrome1 = described.header.photometric == "MONOCHROME1"
    is_inverse = described.elements.code(_PRESENTATION_SHAPE) == "INVERSE"
    return ("MONOCHROME1",) * is_monochrome1 + ("INVERSE",) * is_inverse


def stored_values(header: PixelHeader) -> Floats:
    """Return the stored value of each index; in two's complement of BitsStored if the pixels are signed.

    Parameters
    ----------
    header : PixelHeader
        The pixel description.

    Returns
    -------
    numpy.ndarray
        Shape (2 ** BitsStored,), whole numbers.
    """
    values = np.arange(header.mask + 1, dtype=np.float64)
    if header.is_signed:
        values[(header.mask + 1) // 2 :] -= header.mask + 1
    return values


def modality_values(described: Described) -> Floats:
    """Apply the Modality LUT (PS3.3 C.11.1): the sequence, else the rescale, else none.

    Parameters
    ----------
    described : StoredPixels or Frame
        A grey picture, decoded or not.

    Returns
    -------
    numpy.ndarray
        Shape (2 ** BitsStored,), finite: the output for each index of ``grey_table``.
    """
    values, elements = stored_values(described.header), described.elements
    lut = first_lut(elements, MODALITY_LUT)
    if lut is not None:
        return lut.of(values)
    slope, intercept = rescale_of(elements)
    return values * slope + intercept


def rescale_of(elements: Elements) -> tuple[float, float]:
    """Rescale Slope and Rescale Intercept; 1 and 0 where they are missing or unusable."""
    slope = next(iter(elements.numbers(_RESCALE_SLOPE)), 1.0)
    intercept = next(iter(elements.numbers(_RESCALE_INTERCEPT)), 0.0)
    is_usable = _LEAST <= abs(slope) <= _MOST and abs(intercept) <= _MOST
    return (slope, intercept) if is_usable else (1.0, 0.0)


def _voi_greys(values: Floats, elements: Elements) -> Iterator[Floats]:
    """Iterate over the greys by VOI LUT (PS3.3 C.11.2), 0 to 255: by the first usable LUT, then by the first window."""
    lut = first_lut(elements, VOI_LUT)
    if lut is not None:
        yield lut.of(values) / lut.white * 255
    window = first_window(elements)
    if window is not None:
        yield _windowed(values, *window, window_function(elements))


def window_function(elements: Elements) -> str:
    """VOI LUT Function as the header has it; empty where it has none, which means LINEAR."""
    return elements.code(_VOI_FUNCTION)


def first_window(elements: Elements) -> tuple[float, float] | None:
    """The first usable pair of a Window Center and a Window Width; None without one."""
    pairs = zip(elements.numbers_by_place(_WINDOW_CENTER), elements.numbers_by_place(_WINDOW_WIDTH), strict=False)
    known = ((center, width) for center, width in pairs if center is not None and width is not None)
    return next((pair for pair in known if abs(pair[0]) <= _MOST and _LEAST <= pair[1] <= _MOST), None)


def _windowed(values: Floats, center: float, width: float, function: str) -> Floats:
    """PS3.3 C.11.2.1.2 (LINEAR, the default) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT) to 0..255.

    LINEAR is not defined for a width below 1. Such a width is for fractional values, so LINEAR_EXACT is used.
    """
    if function == "SIGMOID":
        # the clip keeps exp() finite far outside the window, where the curve is flat
        shares: Floats = 1 / (1 + np.exp((-4 * (values - center) / width).clip(-700, 700)))
    elif function == "LINEAR_EXACT" or width < 1:
        shares = (values - center) / width + 0.5
    elif width == 1:
        shares = np.where(values > center - 0.5, 1.0, 0.0)
    else:
        shares = (values - (center - 0.5)) / (width - 1) + 0.5
    return shares.clip(0, 1) * 255


def _automatic_greys(
    stored: StoredPixels, block: int, visible: Mask | None, means: Means | None, *, least: float
) -> Floats | None:
    """Greys by the automatic window; None for a picture with less contrast than ``least`` stored values.

    Up to 8 bits the whole stored range is shown, so that a wrapped picture keeps its greys.
    """
    values = modality_values(stored)
    if stored.header.bits_stored <= 8:
        return _spanned(values, float(values.min()), float(values.max()))
    values = _logarithmic(values, stored.elements)
    low, high = percentile_range(stored, values, block, visible, means)
    step = (values.max() - values.min()) / stored.header.mask
    return _spanned(values, low, high) if high - low >= least * step else None


def _spanned(values: Floats, low: float, high: float) -> Floats:
    return (values - low) / (high - low) * 255 if high > low else np.zeros_like(values)


def is_linear(elements: Elements) -> bool:
    """Whether the values are linear in beam intensity, so that the automatic window takes their logarithm."""
    return elements.code(_RELATIONSHIP) == "LIN"


def _logarithmic(values: Floats, elements: Elements) -> Floats:
    """Take the logarithm of values that are linear in beam intensity (PS3.3 C.8.11.3.1.2), in the same order."""
    if not is_linear(elements):
        return values
    is_negative = elements.integer(_RELATIONSHIP_SIGN) < 0
    logarithms: Floats = -np.log(values.max() - values + 1) if is_negative else np.log(values - values.min() + 1)
    return logarithms


def percentile_range(
    stored: StoredPixels, values: Floats, block: int, visible: Mask | None, means: Means | None = None
) -> tuple[float, float]:
    """Compute the ends of the automatic window, from the means of blocks that are completely visible.

    Parameters
    ----------
    stored : StoredPixels
        A grey picture.
    values : numpy.ndarray
        Shape (2 ** BitsStored,): the modality value of each stored value.
    block, visible
        As for ``grey_table``.
    means : callable or None
        As for ``grey_curves``. If the modality values are a straight line of the stored ones, no pixel is looked up.

    Returns
    -------
    tuple of float
        The value that becomes black and the value that becomes white; both are equal for a picture of one value.
    """
    if means is not None and visible is None and _is_straight(values):
        sample = values[0] + means() * (values[1] - values[0])
    else:
        sample = _block_means(stored, values, block, visible)
    if sample.size == 0:
        return 0.0, 0.0
    low, high = (float(edge) for edge in np.percentile(sample, PERCENTILES))
    # almost all pixels of the picture have one grey, so its contrast is outside the percentiles
    return (low, high) if high > low else (float(sample.min()), float(sample.max()))


def _is_straight(values: Floats) -> bool:
    steps = np.diff(values)
    return bool(np.ptp(steps) <= 1e-6 * abs(steps[0]))


def _block_means(stored: StoredPixels, values: Floats, block: int, visible: Mask | None) -> Floats:
    """The mean values of the blocks that are completely visible; shape (number of blocks,)."""
    narrow = values.astype(np.float32)
    rows, columns = (side // block * block for side in stored.pixels.shape)
    means = []
    for top in range(0, rows, block):
        strip = narrow[stored.pixels[top : top + block, :columns]]
        if visible is not None:
            strip[~visible[top : top + block, :columns]] = np.nan
        means.append(strip.reshape(block, columns // block, block).mean(axis=(0, 2)))
    sample = np.concatenate(means)
    return np.asarray(sample[~np.isnan(sample)], dtype=np.float64)
