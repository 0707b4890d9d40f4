"""The pixel description of a data set, checked before anything is decoded (step 6a of the flow)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.errors import FilmError
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from dicom_io.header.elements import Elements

_SAMPLES, _PHOTOMETRIC, _PLANAR = 0x00280002, 0x00280004, 0x00280006
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103

_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"})
_PALETTE = "PALETTE COLOR"


@dataclass(frozen=True, slots=True)
class PixelHeader:
    """The Image Pixel module (PS3.3 C.7.6.3), checked.

    Attributes
    ----------
    rows, columns : int
        Pixels, at least 1.
    samples : int
        1 (grey, palette) or 3 (colour).
    photometric : str
        The photometric interpretation, one of those that are supported.
    bits_allocated, bits_stored, high_bit : int
        8 or 16; 1 to bits_allocated; the index of the highest stored bit.
    is_signed : bool
        Whether stored values are in two's complement.
    is_planar : bool
        Whether colours are stored plane by plane.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool

    @property
    def is_grey(self) -> bool:
        """Whether the stored values are grey values."""
        return self.photometric in _GREY

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the picture: (rows, columns), in colour (rows, columns, 3)."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, 3)

    @property
    def mask(self) -> int:
        """The largest unsigned stored value."""
        return (1 << self.bits_stored) - 1


def pixel_header_of(elements: Elements) -> PixelHeader:
    """Read and check the Image Pixel module.

    Parameters
    ----------
    elements : Elements
        The data set.

    Returns
    -------
    PixelHeader
        The pixel description.

    Raises
    ------
    FilmError
        UNSUPPORTED_PHOTOMETRIC if it is missing, contradictory or not supported; DECODE_FAILED without a size.
    """
    photometric = elements.code(_PHOTOMETRIC)
    samples = elements.integer(_SAMPLES, default=3 if photometric in _COLOUR else 1)
    allocated = elements.integer(_BITS_ALLOCATED)
    stored = elements.integer(_BITS_STORED, default=allocated)
    high_bit = elements.integer(_HIGH_BIT, default=stored - 1)
    rows, columns = elements.integer(_ROWS), elements.integer(_COLUMNS)
    is_known = (photometric in _GREY | {_PALETTE} and samples == 1) or (photometric in _COLOUR and samples == 3)
    if not is_known or allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise FilmError(Reason.UNSUPPORTED_PHOTOMETRIC)
    if rows < 1 or columns < 1:
        raise FilmError(Reason.DECODE_FAILED)
    return PixelHeader(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit if stored - 1 <= high_bit < allocated else stored - 1,
        is_signed=elements.integer(_SIGNED) == 1,
        is_planar=elements.integer(_PLANAR) == 1,
    )
