"""Step 6b of the flow: which pixels of a decoded picture are film, and which are only its frame.

What lies outside the opening of the collimator (PS3.3 C.8.7.3) or of the display shutter (PS3.3 C.7.6.11), and what
is pixel padding (PS3.3 C.7.5.1.1.2), was never exposed or never meant to be seen. It is cut off with the rows and
columns beside the film, shown black where it lies between them, whatever the polarity, and counts in no statistics. Both
modules name up to three shapes at once, of which the least opening counts; rows and columns count from 1, and an edge
belongs to the opening.

Headers are wrong more often than films are shot through a keyhole, and a film hidden by mistake is worse than an edge
shown. So a shape is left out where it is incomplete or impossible (edges the wrong way round, fewer than three vertices
or more than any device writes, coordinates that no picture has), and shapes, modules and padding that would leave less than a tenth of the
picture, alone or together, are left out too: of contradicting openings nobody knows the right one. An infant on a
large detector still fills more than a tenth. An opening that hides less than a hundredth hides a line or two by
counting from 0, or nothing, and is not worth a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicom_io.decode import Stored
    from dicom_io.elements import Elements
    from dicom_io.pixel_header import PixelHeader

#: What would leave less of the picture than this is not believed.
LEAST_OPEN_SHARE = 0.1
#: An opening that hides less of the picture than this hides nothing of note.
LEAST_HIDDEN_SHARE = 0.01

_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
#: Rows and columns have 16 bits; a coordinate far beyond is no place in a picture.
_FARTHEST = 0xFFFF
#: Vertices of a polygon. Blades make a handful, a circle by degrees 360. Each costs a look at every row of the picture.
MAX_VERTICES = 512

Mask = NDArray[np.bool_]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Tags:
    """Where one of the two modules keeps its shapes; their tags differ by 0x100 alone."""

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


def visible_pixels(stored: Stored) -> Mask | None:
    """Tell film from frame.

    Parameters
    ----------
    stored : Stored
        A decoded picture.

    Returns
    -------
    numpy.ndarray or None
        Shape (rows, columns), bool, True inside all openings and off the padding; None where all of it is film, which
        is the usual case and costs nothing further.
    """
    size = stored.pixels.shape[0], stored.pixels.shape[1]
    modules = [_opening(stored.elements, tags, size) for tags in (_COLLIMATOR, _DISPLAY_SHUTTER)]
    opening = _together([module for module in modules if module is not None])
    if opening is not None and np.count_nonzero(opening) > (1 - LEAST_HIDDEN_SHARE) * opening.size:
        opening = None
    padded = _off_padding(stored)
    if opening is None or padded is None:
        return opening if padded is None else padded
    both = _together([opening, padded])
    return opening if both is None else both


def _opening(elements: Elements, tags: _Tags, size: Size) -> Mask | None:
    """The opening of one module, None where it names none that can be believed."""
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
    """What all masks leave open; None for no masks, and for masks that contradict each other."""
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
    # half the chord that each row cuts; -1 where the row misses the circle
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


def _off_padding(stored: Stored) -> Mask | None:
    """Where the stored value is no padding; None without padding in the picture, or with hardly anything else."""
    ends = _padding_ends(stored.header, stored.elements) if stored.header.is_grey else None
    if ends is None:
        return None
    low, high = ends
    pixels = stored.pixels
    # unsigned subtraction wraps around, so that a range of negative values is one comparison too
    above = (pixels - pixels.dtype.type(low & stored.header.mask)) & pixels.dtype.type(stored.header.mask)
    mask = np.asarray(above > high - low)
    return None if mask.all() or not _is_open(mask) else mask


def _padding_ends(header: PixelHeader, elements: Elements) -> tuple[int, int] | None:
    """The lowest and highest stored value that is padding (PS3.3 C.7.5.1.1.2): one value, or a range to its limit."""
    first, limit = elements.first_integer(_PADDING), elements.first_integer(_PADDING_LIMIT)
    if first is None:
        return None
    ends = [_as_stored(value, header) for value in (first, limit) if value is not None]
    known = [end for end in ends if end is not None]
    return (min(known), max(known)) if len(known) == len(ends) else None


def _as_stored(value: int, header: PixelHeader) -> int | None:
    """A value written as US or SS, read by the sign of the pixels; None when no pixel can hold it."""
    value &= 0xFFFF
    if header.is_signed and value >= 0x8000:
        value -= 0x10000
    low, high = (-(header.mask + 1) // 2, header.mask >> 1) if header.is_signed else (0, header.mask)
    return value if low <= value <= high else None
