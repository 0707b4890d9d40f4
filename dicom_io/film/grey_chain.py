"""Step 6b of the flow, told: which transforms of its header made a film, as the code that makes films applied them.

A film keeps its pixels alone. Whoever asks later why it looks as it does gets the answer from the original, which is made
into a film once more: the same functions read the header, and the film says which of the curves shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dicom_io.film.film import Film, film_of_frame
from dicom_io.film.greyscale import (
    MODALITY_LUT,
    PRESENTATION_LUT,
    VOI_LUT,
    first_window,
    inverted_by,
    is_linear,
    rescale_of,
    window_function,
)
from dicom_io.film.luts import first_lut
from dicom_io.film.shutter import named_hiding
from dicom_io.pixels.decode import read_frame
from dicom_io.quiet import quiet_libraries

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.film.film import Making
    from dicom_io.pixels.decode import Frame

__all__ = ["GreyChain", "Modality", "Voi", "film_with_chain"]


class Modality(StrEnum):
    """How stored values became modality values (PS3.3 C.11.1)."""

    LUT = "MODALITY_LUT"
    RESCALE = "RESCALE"
    NONE = "NONE"


class Voi(StrEnum):
    """How modality values became greys (PS3.3 C.11.2)."""

    LUT = "VOI_LUT"
    WINDOW = "WINDOW"
    #: Up to 8 bits without a usable LUT or window.
    FULL_RANGE = "FULL_RANGE"
    #: From the 0.5th to the 99.5th percentile of the picture.
    AUTOMATIC = "AUTOMATIC"


@dataclass(frozen=True, slots=True)
class GreyChain:
    """The transforms that made a film, in their order.

    Attributes
    ----------
    photometric : str
        Photometric Interpretation (0028,0004).
    bits_stored : int
        Bits Stored (0028,0101).
    is_signed : bool
        Pixel Representation (0028,0103).
    coding : str
        The coding that the bytes show, else that of the transfer syntax.
    decoder : str
        What read the pixel data.
    route : str
        ``levels`` or ``full``; see ``route``.
    block : int
        The side of the block of pixels that became one pixel of the film.
    hidden_by : tuple of str
        What the header names that may hide pixels: COLLIMATOR, SHUTTER, PADDING.
    box : tuple of int, or None
        First row and column, from 0, rows and columns of the part that is shown; None: the whole picture.
    is_masked : bool
        Whether pixels within the box were hidden.
    modality : Modality or None
        None for a colour picture, like all that follow.
    slope, intercept : float or None
        Of the rescale that was applied.
    voi : Voi or None
        The transform that was applied.
    window_center, window_width : float or None
        Of the window that was applied.
    window_function : str or None
        VOI LUT Function of that window as the header has it; empty means LINEAR.
    is_logarithmic : bool or None
        Whether the automatic window was taken of the logarithm of the values.
    inverted_by : tuple of str
        Why black and white were exchanged: MONOCHROME1, INVERSE; empty: they were not.
    has_presentation_lut : bool
        Whether a Presentation LUT was applied.
    """

    photometric: str
    bits_stored: int
    is_signed: bool
    coding: str
    decoder: str
    route: str
    block: int
    hidden_by: tuple[str, ...]
    box: tuple[int, int, int, int] | None
    is_masked: bool
    modality: Modality | None = None
    slope: float | None = None
    intercept: float | None = None
    voi: Voi | None = None
    window_center: float | None = None
    window_width: float | None = None
    window_function: str | None = None
    is_logarithmic: bool | None = None
    inverted_by: tuple[str, ...] = ()
    has_presentation_lut: bool = False


def film_with_chain(path: Path) -> tuple[Film, GreyChain]:
    """Make the film of a DICOM file, and tell how it was made; the parameters and errors are those of ``film_of_dicom``."""
    quiet_libraries()
    frame = read_frame(path)
    film = film_of_frame(frame)
    assert film.making is not None
    return film, _chain(frame, film, film.making)


def _chain(frame: Frame, film: Film, making: Making) -> GreyChain:
    header, elements = frame.header, frame.elements
    given: dict[str, Any] = {
        "photometric": header.photometric,
        "bits_stored": header.bits_stored,
        "is_signed": header.is_signed,
        "coding": frame.coding.value,
        "decoder": film.decoder,
        "route": making.route.value,
        "block": making.block,
        "hidden_by": named_hiding(elements),
        "box": making.box,
        "is_masked": making.is_masked,
    }
    if making.curve is None:
        return GreyChain(**given)
    modality, voi = _modality(frame), _voi(frame, making.curve)
    slope, intercept = rescale_of(elements) if modality is Modality.RESCALE else (None, None)
    center, width = (first_window(elements) if voi is Voi.WINDOW else None) or (None, None)
    return GreyChain(
        **given,
        modality=modality,
        slope=slope,
        intercept=intercept,
        voi=voi,
        window_center=center,
        window_width=width,
        window_function=window_function(elements) if voi is Voi.WINDOW else None,
        is_logarithmic=is_linear(elements) if voi is Voi.AUTOMATIC else None,
        inverted_by=inverted_by(frame),
        has_presentation_lut=first_lut(elements, PRESENTATION_LUT) is not None,
    )


def _modality(frame: Frame) -> Modality:
    if first_lut(frame.elements, MODALITY_LUT) is not None:
        return Modality.LUT
    return Modality.NONE if rescale_of(frame.elements) == (1.0, 0.0) else Modality.RESCALE


def _voi(frame: Frame, curve: int) -> Voi:
    """The transform of the curve of that number, in the order of ``grey_curves``."""
    usable = []
    if first_lut(frame.elements, VOI_LUT) is not None:
        usable.append(Voi.LUT)
    if first_window(frame.elements) is not None:
        usable.append(Voi.WINDOW)
    usable.append(Voi.FULL_RANGE if frame.header.bits_stored <= 8 else Voi.AUTOMATIC)
    return usable[curve]
