"""Step 6b of the flow: stored values -> display greys, as one look-up table.

The whole grey-scale chain of DICOM is a function of the stored value alone, so it is computed once for each of the at
most 65,536 values a pixel can hold and applied by indexing::

    stored value
      -> Modality LUT sequence, else rescale slope and intercept      PS3.3 C.11.1
      -> VOI LUT sequence, else first window, else full range up to 8 bits,
         else 0.5 to 99.5 percentile window of the picture            PS3.3 C.11.2
      -> inversion, once, for MONOCHROME1 or Presentation LUT Shape INVERSE
                                                                      PS3.3 C.7.6.3.1.2, C.11.6, PS3.4 N.2
      -> pixel padding is black                                       PS3.3 C.7.5.1.1.2

Each transform is applied if it is present and usable, and left out if not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dicom_io.decode import Stored
    from dicom_io.elements import Elements
    from dicom_io.pixel_header import PixelHeader

_RESCALE_INTERCEPT, _RESCALE_SLOPE, _MODALITY_LUT = 0x00281052, 0x00281053, 0x00283000
_WINDOW_CENTER, _WINDOW_WIDTH, _VOI_FUNCTION, _VOI_LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
_LUT_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_PADDING, _PADDING_LIMIT, _PRESENTATION_SHAPE = 0x00280120, 0x00280121, 0x20500020

#: The window of a film that brings none: this part of its pixels is cut off at either end, in percent.
PERCENTILES = (0.5, 99.5)

Floats = NDArray[np.float64]


def grey_table(stored: Stored, block: int) -> NDArray[np.uint8]:
    """The display grey of every possible stored value.

    Parameters
    ----------
    stored : Stored
        A grey picture.
    block : int
        The side of the blocks, in pixels, that will become one pixel of the film: the percentile window is taken from
        the picture so reduced, in which single hot pixels and noise no longer count.

    Returns
    -------
    numpy.ndarray
        Shape (2 ** BitsStored,), uint8, MONOCHROME2; the index is the stored value's bits without sign extension.
    """
    header, elements = stored.header, stored.elements
    values = _modality_values(_stored_values(header), elements)
    padding = _padding_indices(header, elements)
    greys = _voi_greys(values, elements)
    if greys is None:
        low, high = (
            _full_range(values) if header.bits_stored <= 8 else _percentile_range(stored, values, padding, block)
        )
        greys = (values - low) / (high - low) * 255 if high > low else np.zeros_like(values)
    if header.photometric == "MONOCHROME1" or elements.code(_PRESENTATION_SHAPE) == "INVERSE":
        greys = 255 - greys
    table: NDArray[np.uint8] = np.rint(greys.clip(0, 255)).astype(np.uint8)
    table[padding] = 0
    return table


def _stored_values(header: PixelHeader) -> Floats:
    """The stored value of each index: two's complement within BitsStored when signed."""
    values = np.arange(header.mask + 1, dtype=np.float64)
    if header.is_signed:
        values[(header.mask + 1) // 2 :] -= header.mask + 1
    return values


def _modality_values(values: Floats, elements: Elements) -> Floats:
    """Modality LUT (PS3.3 C.11.1): the sequence, else the rescale, else the values as they are."""
    lut = _first_lut(elements, _MODALITY_LUT, values)
    if lut is not None:
        return lut[0]
    slope = _first(elements.numbers(_RESCALE_SLOPE), 1.0) or 1.0
    return values * slope + _first(elements.numbers(_RESCALE_INTERCEPT), 0.0)


def _voi_greys(values: Floats, elements: Elements) -> Floats | None:
    """VOI LUT (PS3.3 C.11.2) scaled to 0..255: the first LUT, else the first window, None when there is neither."""
    lut = _first_lut(elements, _VOI_LUT, values)
    if lut is not None:
        return lut[0] / lut[1] * 255
    centers, widths = elements.numbers(_WINDOW_CENTER), elements.numbers(_WINDOW_WIDTH)
    if not centers or not widths:
        return None
    return _windowed(values, centers[0], widths[0], elements.code(_VOI_FUNCTION) or "LINEAR")


def _windowed(values: Floats, center: float, width: float, function: str) -> Floats | None:
    """PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT) to 0..255; None for an impossible width."""
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "SIGMOID":
        # the clip keeps exp() finite far outside the window, where the curve is flat anyway
        curve: Floats = 255 / (1 + np.exp((-4 * (values - center) / width).clip(-700, 700)))
        return curve
    if function == "LINEAR_EXACT":
        return ((values - center) / width + 0.5).clip(0, 1) * 255
    if width == 1:
        return np.where(values > center - 0.5, 255.0, 0.0)
    return ((values - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1) * 255


def _full_range(values: Floats) -> tuple[float, float]:
    """Up to 8 bits the stored range is the display range, so that a wrapped picture keeps its greys."""
    return float(values.min()), float(values.max())


def _percentile_range(stored: Stored, values: Floats, padding: NDArray[np.intp], block: int) -> tuple[float, float]:
    """The window of a picture that brings none, from its block means without padding."""
    narrow = values.astype(np.float32)
    narrow[padding] = np.nan
    rows, columns = (side // block * block for side in stored.pixels.shape)
    means = [
        narrow[stored.pixels[top : top + block, :columns]].reshape(block, columns // block, block).mean(axis=(0, 2))
        for top in range(0, rows, block)
    ]
    sample = np.concatenate(means)
    sample = sample[~np.isnan(sample)]
    if sample.size == 0:
        return 0.0, 0.0
    low, high = (float(edge) for edge in np.percentile(sample, PERCENTILES))
    # a picture almost of one grey: what little it shows lies outside the percentiles
    return (low, high) if high > low else (float(sample.min()), float(sample.max()))


def _padding_indices(header: PixelHeader, elements: Elements) -> NDArray[np.intp]:
    """The table indices of Pixel Padding Value, or of the range to its limit."""
    first = elements.integers(_PADDING)[:1]
    if not first:
        return np.empty(0, dtype=np.intp)
    ends = [_as_stored(value, header) for value in first + elements.integers(_PADDING_LIMIT)[:1]]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return np.empty(0, dtype=np.intp)
    return np.arange(min(known), max(known) + 1, dtype=np.intp) & header.mask


def _as_stored(value: int, header: PixelHeader) -> int | None:
    """A value written as US or SS, read by the sign of the pixels; None when no pixel can hold it."""
    value &= 0xFFFF
    if header.is_signed and value >= 0x8000:
        value -= 0x10000
    low, high = (-(header.mask + 1) // 2, header.mask >> 1) if header.is_signed else (0, header.mask)
    return value if low <= value <= high else None


def _first_lut(elements: Elements, sequence: int, values: Floats) -> tuple[Floats, float] | None:
    """Values through the first LUT of a sequence, and the largest output its bits allow; None without a usable LUT.

    Values before the first mapped one get the first entry, those behind the last one the last (PS3.3 C.11.1.1).
    """
    item = next(elements.items(sequence), None)
    if item is None:
        return None
    descriptor = item.integers(_LUT_DESCRIPTOR)
    if len(descriptor) != 3:
        return None
    entries = _lut_entries(item, count=descriptor[0] & 0xFFFF or 0x10000, bits=descriptor[2])
    if entries is None:
        return None
    first = descriptor[1] & 0xFFFF
    # the descriptor is US or SS as the values are; implicit data sets do not tell which
    if first >= 0x8000 and values.min() < 0:
        first -= 0x10000
    at = (np.rint(values) - first).clip(0, entries.size - 1).astype(np.intp)
    return entries[at].astype(np.float64), _largest_output(int(entries.max()), descriptor[2])


def _lut_entries(item: Elements, *, count: int, bits: int) -> NDArray[np.integer] | None:
    """The entries of LUTData, 8 or 16 bits each; None when they are missing."""
    data = item.raw(_LUT_DATA)
    if isinstance(data, bytes):
        if bits <= 8 and len(data) in (count, count + 1):
            entries: NDArray[np.integer] = np.frombuffer(data, "u1")
        else:
            order = "<" if item.is_little_endian(_LUT_DATA) else ">"
            entries = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")
    else:
        entries = np.array([number & 0xFFFF for number in item.integers(_LUT_DATA)], dtype=np.uint16)
    return entries[:count] if entries.size else None


def _largest_output(largest: int, bits: int) -> float:
    """White of a LUT: by its declared bits, unless no entry needs their upper half or one needs more.

    Some writers declare 16 bits for a table of 12; the film would come out all but black.
    """
    declared = (1 << bits) - 1 if 8 <= bits <= 16 else 0xFFFF
    needed = (1 << max(largest, 1).bit_length()) - 1
    return float(declared if declared // 2 < largest <= declared else needed)


def _first(numbers: list[float], default: float) -> float:
    return numbers[0] if numbers else default
