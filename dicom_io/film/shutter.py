"""Step 6b of the flow: which pixels of a decoded picture are visible, and which belong to its frame.

Pixels outside the opening of the collimator (PS3.3 C.8.7.3) or of the display shutter (PS3.3 C.7.6.11) and pixel
padding (PS3.3 C.7.5.1.1.2) were not exposed or are not meant to be seen. Rows and columns without visible pixels are
cut off, other hidden pixels are shown black at any polarity, and no statistics include them. Both modules may name up
to three shapes; the opening is what all of them leave open. Rows and columns count from 1, and an edge belongs to the
opening.

Wrong headers are more common than films with a tiny opening, and hiding a film by mistake is worse than showing an
edge. So a shape is ignored if it is incomplete or impossible: edges in the wrong order, fewer than three vertices or
more than any device writes, coordinates that no picture has. Shapes, modules and padding are also ignored if, alone or
together, they would leave less than a tenth of the picture, because it is unknown which of contradicting openings is
right; even an infant on a large detector fills more than a tenth. An opening that hides less than a hundredth is
ignored too: it hides nothing, or a line or two by counting from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicom_io.header.elements import Elements
    from dicom_io.pixels.decode import StoredPixels
    from dicom_io.pixels.pixel_header import PixelHeader

#: An opening that would leave less of the picture than this is ignored.
LEAST_OPEN_SHARE = 0.1
#: An opening that hides less of the picture than this is ignored.
LEAST_HIDDEN_SHARE = 0.01

_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
#: Rows and columns have 16 bits; a larger coordinate is outside any picture.
_FARTHEST = 0xFFFF
#: The most vertices of a polygon. Blades have a few, a circle in degrees has 360. Each costs time for every row.
MAX_VERTICES = 512

Mask = NDArray[np.bool_]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Tags:
    """The tags of the shapes of one module; those of the other differ by 0x100."""

    shape: int

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, right, upper and lower edge of the rectangle."""
        return self.shape + 2, self.shape + 4, self.shape + 6, self.shape + 8

    @property
    def center(self) -> int:
        return self.shape + 0x10

    @property
    def radius(self) -> int:
        return self.shape + 0x12

    @property
    def vertices(self) -> int:
        return self.shape + 0x20


_COLLIMATOR, _DISPLAY_SHUTTER = _Tags(0x00181700), _Tags(0x00181600)


def hides_pixels(elements: Elements) -> bool:
    """Whether a header names a collimator, a display shutter or padding, whatever they hide.

    Parameters
    ----------
    elements : Elements
        The data set.

    Returns
    -------
    bool
        False if all pixels of the picture are visible.
    """
    return bool(named_hiding(elements))


def named_hiding(elements: Elements) -> tuple[str, ...]:
    """What a header names that may hide pixels: COLLIMATOR, SHUTTER, PADDING, whether usable or not."""
    named = {"COLLIMATOR": _COLLIMATOR.shape, "SHUTTER": _DISPLAY_SHUTTER.shape, "PADDING": _PADDING}
    return tuple(name for name, tag in named.items() if elements.has(tag))


def visible_pixels(stored: StoredPixels) -> Mask | None:
    """Find the visible pixels of a picture.

    Parameters
    ----------
    stored : StoredPixels
        A decoded picture.

    Returns
    -------
    numpy.ndarray or None
        Shape (rows, columns), bool, True inside all openings and outside the padding; None in the usual case that all
        pixels are visible.
    """
    size = stored.pixels.shape[0], stored.pixels.shape[1]
    modules = [_opening(stored.elements, tags, size) for tags in (_COLLIMATOR, _DISPLAY_SHUTTER)]
    opening = _together([module for module in modules if module is not None])
    if opening is not None and np.count_nonzero(opening) > (1 - LEAST_HIDDEN_SHARE) * opening.size:
        opening = None
    padded = _unpadded(stored)
    if opening is None or padded is None:
        return opening if padded is None else padded
    both = _together([opening, padded])
    return opening if both is None else both


def _opening(elements: Elements, tags: _Tags, size: Size) -> Mask | None:
    """The opening of one module; None if it has no usable shape."""
    shapes = [shape.strip().upper() for shape in elements.plain(tags.shape).split("\\")]
    masks = []
    if "RECTANGULAR" in shapes:
        masks.append(_rectangle(elements, tags, size))
    if "CIRCULAR" in shapes:
        masks.append(_circle(elements, tags, size))
    if "POLYGONAL" in shapes:
        masks.append(_polygon(elements, tags, size))
    return _together([mask for mask in masks if mask is not None and _is_open(mask)])


def _together(masks: Iterable[Mask]) -> Mask | None:
    """The pixels that all masks leave open; None without masks, and for masks that contradict each other."""
    every = list(masks)
    if not every:
        return None
    common = every[0]
    for mask in every[1:]:
        common = common & mask
    return common if _is_open(common) else None


def _is_open(mask: Mask) -> bool:
    return int(np.count_nonzero(mask)) >= LEAST_OPEN_SHARE * mask.size


def _rectangle(elements: Elements, tags: _Tags, size: Size) -> Mask | None:
    edges = [elements.first_integer(tag) for tag in tags.edges]
    left, right, upper, lower = edges
    if left is None or right is None or upper is None or lower is None:
        return None
    mask = np.zeros(size, dtype=np.bool_)
    mask[max(upper - 1, 0) : max(lower, 0), max(left - 1, 0) : max(right, 0)] = True
    return mask


def _circle(elements: Elements, tags: _Tags, size: Size) -> Mask | None:
    center, radius = elements.integers(tags.center, most=2), elements.integer(tags.radius)
    if len(center) != 2 or radius < 1 or max(map(abs, (*center, radius))) > _FARTHEST:
        return None
    rows, columns = (np.arange(1.0, side + 1) - middle for side, middle in zip(size, center, strict=True))
    # half the chord of the circle in each row; -1 in rows outside the circle
    half = np.sqrt(np.maximum(radius**2 - rows**2, 0.0), where=np.abs(rows) <= radius, out=np.full(size[0], -1.0))
    return np.asarray(np.abs(columns)[None, :] <= half[:, None])


def _polygon(elements: Elements, tags: _Tags, size: Size) -> Mask | None:
    numbers = elements.integers(tags.vertices, most=2 * MAX_VERTICES)
    if len(numbers) < 6 or len(numbers) % 2 or max(map(abs, numbers)) > _FARTHEST:
        return None
    picture = Image.new("L", (size[1], size[0]))
    corners = [(column - 1, row - 1) for row, column in zip(numbers[::2], numbers[1::2], strict=True)]
    ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
    return np.asarray(picture).view(np.bool_)


def _unpadded(stored: StoredPixels) -> Mask | None:
    """The pixels that are not padding; None if there is no padding, or hardly anything else."""
    ends = _padding_ends(stored.header, stored.elements) if stored.header.is_grey else None
    if ends is None:
        return None
    low, high = ends
    pixels = stored.pixels
    # unsigned subtraction wraps around, so one comparison also covers a range of negative values
    above = (pixels - pixels.dtype.type(low & stored.header.mask)) & pixels.dtype.type(stored.header.mask)
    mask = np.asarray(above > high - low)
    return None if mask.all() or not _is_open(mask) else mask


def _padding_ends(header: PixelHeader, elements: Elements) -> tuple[int, int] | None:
    """The lowest and highest stored value of the padding (PS3.3 C.7.5.1.1.2): one value, or a range up to its limit."""
    first, limit = elements.first_integer(_PADDING), elements.first_integer(_PADDING_LIMIT)
    if first is None:
        return None
    ends = [_as_stored(value, header) for value in (first, limit) if value is not None]
    known = [end for end in ends if end is not None]
    return (min(known), max(known)) if len(known) == len(ends) else None


def _as_stored(value: int, header: PixelHeader) -> int | None:
    """A value written as US or SS, with the sign of the pixels; None if no pixel can hold it."""
    value &= 0xFFFF
    if header.is_signed and value >= 0x8000:
        value -= 0x10000
    low, high = (-(header.mask + 1) // 2, header.mask >> 1) if header.is_signed else (0, header.mask)
    return value if low <= value <= high else None
