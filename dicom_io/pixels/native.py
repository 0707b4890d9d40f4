"""Reading of uncompressed pixels (step 6a of the flow; PS3.5 8.1.1, 8.2 and annex D)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicom_io.errors import FilmError
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicom_io.pixels.pixel_header import PixelHeader


def native_bytes(header: PixelHeader) -> int:
    """Return the size of one uncompressed frame.

    Parameters
    ----------
    header : PixelHeader
        The pixel description.

    Returns
    -------
    int
        Bytes, without the padding to an even length.
    """
    return _values(header) * header.bits_allocated // 8


def native_pixels(
    data: bytes, header: PixelHeader, *, is_big_endian: bool = False, is_word: bool = False
) -> NDArray[Any]:
    """Read one uncompressed frame.

    Parameters
    ----------
    data : bytes
        The frame; bytes after its last pixel are padding.
    header : PixelHeader
        The pixel description.
    is_big_endian : bool
        The order of the bytes of a word.
    is_word : bool
        Whether the element is coded as 16-bit words (OW).

    Returns
    -------
    numpy.ndarray
        Shape (rows, columns), the BitsStored low bits of each value; in colour (rows, columns, 3).

    Raises
    ------
    FilmError
        DECODE_FAILED if pixels are missing; UNSUPPORTED_PHOTOMETRIC for YBR_FULL_422 with an odd width or 16 bits.
    """
    count = _values(header)
    if len(data) < native_bytes(header):
        raise FilmError(Reason.DECODE_FAILED)
    if header.bits_allocated == 16:
        flat = np.frombuffer(data, ">u2" if is_big_endian else "<u2", count)
    elif is_big_endian and is_word:
        # in 16-bit words of this byte order each pair of bytes is swapped
        flat = np.frombuffer(data[: len(data) // 2 * 2], "u2").byteswap().view("u1")[:count]
    else:
        flat = np.frombuffer(data, "u1", count)
    if _is_subsampled(header):
        return _expanded_422(flat, header)
    if header.samples == 1:
        return stored_bits(flat.reshape(header.shape), header)
    if header.is_planar:
        return np.moveaxis(flat.reshape(3, header.rows, header.columns), 0, -1)
    return flat.reshape(header.shape)


def stored_bits(pixels: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    """Keep only the stored bits; the other bits may hold overlays or anything else (PS3.5 8.1.1).

    Parameters
    ----------
    pixels : numpy.ndarray
        Unsigned values of BitsAllocated bits.
    header : PixelHeader
        The pixel description.

    Returns
    -------
    numpy.ndarray
        The same shape; 0 to 2 ** BitsStored - 1.
    """
    surplus = header.high_bit + 1 - header.bits_stored
    shifted = pixels >> surplus if surplus else pixels
    # looking whether other bits are set is cheaper than a copy without them
    return shifted & header.mask if int(np.bitwise_or.reduce(shifted, axis=None)) > header.mask else shifted


def _values(header: PixelHeader) -> int:
    return header.rows * header.columns * (2 if _is_subsampled(header) else header.samples)


def _is_subsampled(header: PixelHeader) -> bool:
    return header.photometric == "YBR_FULL_422"


def _expanded_422(flat: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    """Expand uncompressed YBR_FULL_422: Y1 Y2 Cb Cr for each two pixels of a row (PS3.3 C.7.6.3.1.2)."""
    if header.columns % 2 or header.bits_allocated != 8:
        raise FilmError(Reason.UNSUPPORTED_PHOTOMETRIC)
    groups = flat.reshape(header.rows, header.columns // 2, 4)
    luma = groups[:, :, :2].reshape(header.rows, header.columns)
    chroma = np.repeat(groups[:, :, 2:], 2, axis=1)
    return np.dstack((luma, chroma))
