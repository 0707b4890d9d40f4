"""Step 6a of the flow: JPEG 2000 and HTJ2K decoded at a lower resolution, which takes a fraction of the time.

A code stream holds the picture as a small one, which is the mean of its neighbourhoods, and as what must be added at each
of some levels to double its size. Sample n at level r lies on pixel n * 2 ** r of the picture, not in the middle of the
2 ** r pixels that follow (ITU-T T.800 annex F): a caller must take that into account.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dicom_io.errors import FilmError
from dicom_io.pixels.codestream import declared_by
from dicom_io.pixels.codestream_j2k import declared_by_j2k, levels_of
from dicom_io.pixels.decoders import DECODER_ERRORS, decode_htj2k
from dicom_io.pixels.syntaxes import Coding, Decoder
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicom_io.pixels.decode import Frame

# What Pillow raises for damaged pictures; never shown.
_ERRORS = (*DECODER_ERRORS, OSError, SyntaxError, EOFError)


@dataclass(frozen=True, slots=True, eq=False)
class Wavelet:
    """The code stream of a grey picture that can be decoded at a lower resolution.

    Attributes
    ----------
    data : bytes
        The code stream.
    levels : frozenset of int
        The levels at which it can be decoded, 1 or more; each halves the size.
    rows, columns : int
        The full size in pixels.
    precision : int
        Bits per sample.
    is_reversible : bool
        Whether it has the 5/3 wavelet; else the 9/7 wavelet.
    decoder : Decoder
        What decodes it: OpenJPEG or OpenJPH.
    """

    data: bytes
    levels: frozenset[int]
    rows: int
    columns: int
    precision: int
    is_reversible: bool
    decoder: Decoder


def wavelet_of(frame: Frame) -> Wavelet | None:
    """Look whether a frame can be decoded at a lower resolution.

    Parameters
    ----------
    frame : Frame
        The frame.

    Returns
    -------
    Wavelet or None
        None for other codings, for streams whose samples are elsewhere than expected (tiles, offsets, signs), and for
        streams without an end.

    Raises
    ------
    FilmError
        DECODE_FAILED if the stream does not fit the header of the object, contradicts itself or exceeds the limits.
    """
    header, data = frame.header, frame.data
    if frame.coding not in (Coding.JPEG_2000, Coding.HTJ2K):
        return None
    declared = declared_by(data, frame.coding)
    if (declared.rows, declared.columns, declared.components) != (header.rows, header.columns, header.samples):
        raise FilmError(Reason.DECODE_FAILED)
    try:
        # the missing end of a stream would not be noticed, because it belongs to the levels that are left out
        declared_by_j2k(data, must_be_whole=True)
        levels = levels_of(data)
    except (FilmError, *DECODER_ERRORS):
        return None
    if levels is None:
        return None
    decoder = Decoder.OPENJPEG if frame.coding is Coding.JPEG_2000 else Decoder.OPENJPH
    size = levels.rows, levels.columns
    usable = frozenset(level for level in range(1, levels.count + 1) if _is_usable(size, level, decoder))
    return Wavelet(data[levels.start :], usable, *size, levels.precision, levels.is_reversible, decoder)


def low_pass(wavelet: Wavelet, level: int) -> NDArray[np.float64]:
    """Decode a code stream at a lower resolution.

    Parameters
    ----------
    wavelet : Wavelet
        The code stream.
    level : int
        One of its levels.

    Returns
    -------
    numpy.ndarray
        Shape (ceil(rows / 2 ** level), ceil(columns / 2 ** level)), whole numbers; of at most 15 bits, or they wrap.

    Raises
    ------
    FilmError
        DECODE_FAILED or TOO_LARGE.
    """
    decode = _by_openjpeg if wavelet.decoder is Decoder.OPENJPEG else decode_htj2k
    try:
        pixels = np.asarray(decode(wavelet.data, level))
    except MemoryError:
        raise FilmError(Reason.TOO_LARGE) from None
    except _ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None
    if pixels.shape != (-(-wavelet.rows >> level), -(-wavelet.columns >> level)) or pixels.dtype != np.uint16:
        raise FilmError(Reason.DECODE_FAILED)
    if wavelet.decoder is Decoder.OPENJPH:
        # beside black and white edges samples overshoot, and OpenJPH does not clip them
        return pixels.view(np.int16).astype(np.float64)
    # Pillow scales to 16 bits
    return (pixels >> (16 - wavelet.precision)).astype(np.float64)


def _by_openjpeg(data: bytes, level: int) -> NDArray[Any]:
    with Image.open(io.BytesIO(data), formats=("JPEG2000",)) as picture:
        # of this format it is a property, which the types do not know
        picture.reduce = level  # type: ignore[method-assign, assignment]
        picture.load()
        return np.asarray(picture)


def _is_usable(size: tuple[int, int], level: int, decoder: Decoder) -> bool:
    """Whether the size of a level can be asked for: Pillow rounds it, where OpenJPEG takes the next whole number."""
    side = 1 << level
    return decoder is not Decoder.OPENJPEG or all((length + side // 2) // side == -(-length // side) for length in size)
