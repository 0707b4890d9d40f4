"""Step 6b of the flow for colour: stored values -> display greys.

Radiographs that were scanned or captured from a screen come as RGB, as YBR or with a palette, although they are grey.
Modality LUT, VOI LUT and polarity are not defined for them (PS3.3 C.11.1, C.11.2). Every colour becomes grey by the
luma of Pillow's ``convert("L")`` (ITU-R BT.601), as it did for the training films.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_io.errors import FilmError
from dicom_io.film.greyscale import stored_values
from dicom_io.film.luts import read_lut
from dicom_io.film.segmented_lut import read_segmented_lut
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from dicom_io.film.luts import Lut
    from dicom_io.header.elements import Elements
    from dicom_io.pixels.decode import StoredPixels

#: Descriptor, data and segmented data of the red, green and blue palette.
_PALETTES = (
    (0x00281101, 0x00281201, 0x00281221),
    (0x00281102, 0x00281202, 0x00281222),
    (0x00281103, 0x00281203, 0x00281223),
)

Grey = NDArray[np.uint8]


def grey_of_colour(stored: StoredPixels) -> Grey:
    """Convert a colour picture to greys.

    Parameters
    ----------
    stored : StoredPixels
        An RGB, YBR or palette picture.

    Returns
    -------
    numpy.ndarray
        Shape (rows, columns), uint8, MONOCHROME2. Of colours of more than 8 bits the upper 8 bits are used.

    Raises
    ------
    FilmError
        UNSUPPORTED_PHOTOMETRIC without a usable palette.
    """
    if stored.header.photometric == "PALETTE COLOR":
        return _grey_table(stored)[stored.pixels]
    pixels = stored.pixels
    if stored.header.bits_stored > 8:
        pixels = (pixels >> (stored.header.bits_stored - 8)).astype(np.uint8)
    planes = np.ascontiguousarray(pixels.astype(np.uint8, copy=False))
    if stored.is_rgb:
        return np.asarray(Image.fromarray(planes).convert("L"))
    bands = [Image.fromarray(np.ascontiguousarray(planes[:, :, band])) for band in range(3)]
    return np.asarray(Image.merge("YCbCr", bands).convert("RGB").convert("L"))


def _grey_table(stored: StoredPixels) -> Grey:
    """The grey of every stored value through the palette (PS3.3 C.7.6.3.1.5, C.7.9)."""
    values = stored_values(stored.header)
    rgb = np.stack([_palette(stored.elements, tags).of(values) for tags in _PALETTES], axis=-1).astype(np.uint16)
    if rgb.max() > 0xFF:
        rgb = (rgb >> 8).astype(np.uint16)
    greys: Grey = np.asarray(Image.fromarray(rgb[None].astype(np.uint8)).convert("L"))[0]
    return greys


def _palette(elements: Elements, tags: tuple[int, int, int]) -> Lut:
    descriptor, data, segments = tags
    lut = read_lut(elements, descriptor, data) or read_segmented_lut(elements, descriptor, segments)
    if lut is None:
        raise FilmError(Reason.UNSUPPORTED_PHOTOMETRIC)
    return lut
