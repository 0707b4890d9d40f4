"""One compressed frame -> its values, by the decoder pinned to its coding (step 6a of the flow).

Size, depth and inner structure that the code stream declares are checked first. Only then a decoder runs, and its
result must have exactly the declared shape.
"""

from __future__ import annotations

import sys
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from dicom_io.errors import FilmError
from dicom_io.header.elements import CONVERSION_ERRORS
from dicom_io.pixels.codestream import declared_by
from dicom_io.pixels.native import native_bytes, native_pixels, stored_bits
from dicom_io.pixels.syntaxes import Coding, Decoder
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from dicom_io.pixels.declared import Declared
    from dicom_io.pixels.pixel_header import PixelHeader

#: RuntimeError is the base of imagecodecs' errors; their texts are never shown.
DECODER_ERRORS = (RuntimeError, *CONVERSION_ERRORS)
_hooks_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Decoded:
    """The values of one frame.

    Attributes
    ----------
    pixels : numpy.ndarray
        Grey and palette: shape (rows, columns), unsigned, the BitsStored low bits of each value. Colour: shape
        (rows, columns, 3), unsigned.
    is_rgb : bool
        Whether a colour picture is RGB; else it is YBR in full range.
    decoder : Decoder
        The decoder that read them.
    """

    pixels: NDArray[Any]
    is_rgb: bool
    decoder: Decoder


def decode_frame(frame: bytes, header: PixelHeader, coding: Coding) -> Decoded:
    """Decode one compressed frame.

    Parameters
    ----------
    frame : bytes
        The fragments of the frame, joined.
    header : PixelHeader
        The pixel description.
    coding : Coding
        How it is coded; any but NATIVE.

    Returns
    -------
    Decoded
        The values.

    Raises
    ------
    FilmError
        DECODE_FAILED if the frame is damaged, hostile or does not fit the header.
    """
    if coding is Coding.RLE:
        return _rle(frame, header)
    if coding is Coding.DEFLATED:
        return _deflated(frame, header)
    return _code_stream(frame, header, coding)


def _rle(frame: bytes, header: PixelHeader) -> Decoded:
    """RLE Lossless (PS3.5 annex G): one segment for each byte of each sample, most significant first."""
    size = header.rows * header.columns * header.samples * header.bits_allocated // 8
    # two bytes expand to 128 at most (G.3.1)
    if int.from_bytes(frame[:4], "little") != header.samples * header.bits_allocated // 8 or size > 64 * len(frame):
        raise FilmError(Reason.DECODE_FAILED)
    dtype = np.dtype("<u2" if header.bits_allocated == 16 else "u1")
    try:
        # out bounds the size of the expanded runs
        data = imagecodecs.dicomrle_decode(frame, dtype, out=size)
    except MemoryError:
        raise FilmError(Reason.TOO_LARGE) from None
    except DECODER_ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None
    if len(data) != size:
        raise FilmError(Reason.DECODE_FAILED)
    planes = np.frombuffer(data, dtype).reshape(header.samples, header.rows, header.columns)
    pixels = planes[0] if header.samples == 1 else np.moveaxis(planes, 0, -1)
    return Decoded(stored_bits(pixels, header), header.photometric == "RGB", Decoder.PACKBITS)


def _deflated(frame: bytes, header: PixelHeader) -> Decoded:
    """Deflated Image Frame Compression (PS3.5 8.2.16, A.4.13): an uncompressed frame in a raw deflate stream."""
    size = native_bytes(header)
    most = size + size % 2
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # one byte more than allowed shows whether the stream ends or goes on
        data = machine.decompress(frame, most + 1)
    except zlib.error:
        raise FilmError(Reason.DECODE_FAILED) from None
    if not machine.eof or not size <= len(data) <= most:
        raise FilmError(Reason.DECODE_FAILED)
    return Decoded(native_pixels(data, header), header.photometric == "RGB", Decoder.ZLIB)


def _code_stream(frame: bytes, header: PixelHeader, coding: Coding) -> Decoded:
    """JPEG of every kind, and JPEG 2000."""
    declared = declared_by(frame, coding)
    if (declared.rows, declared.columns, declared.components) != (header.rows, header.columns, header.samples):
        raise FilmError(Reason.DECODE_FAILED)
    if declared.precision > header.bits_allocated:
        raise FilmError(Reason.DECODE_FAILED)
    decoder, decode = _decoder_of(coding, header, declared)
    try:
        pixels = np.asarray(decode(frame))
    except MemoryError:
        raise FilmError(Reason.TOO_LARGE) from None
    except DECODER_ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None
    if pixels.shape != header.shape or pixels.dtype.kind not in "ui" or pixels.dtype.itemsize > 2:
        raise FilmError(Reason.DECODE_FAILED)
    # the decoders undo the colour transforms of JPEG 2000 and JPEG, but JPEG-LS and RLE keep YBR_FULL
    is_rgb = header.photometric != "YBR_FULL" or coding is Coding.JPEG
    return Decoded(_fitted(pixels, header, declared), is_rgb, decoder)


def _decoder_of(
    coding: Coding, header: PixelHeader, declared: Declared
) -> tuple[Decoder, Callable[[bytes], NDArray[Any]]]:
    match coding:
        case Coding.JPEG_LS:
            return Decoder.CHARLS, imagecodecs.jpegls_decode
        case Coding.JPEG_2000:
            return Decoder.OPENJPEG, imagecodecs.jpeg2k_decode
        case Coding.HTJ2K:
            return Decoder.OPENJPH, decode_htj2k
        case _:
            return Decoder.LIBJPEG_TURBO, lambda frame: _jpeg(frame, header, declared)


def decode_htj2k(data: bytes, level: int = 0) -> NDArray[Any]:
    """Decode HTJ2K, and raise every error of OpenJPH.

    Parameters
    ----------
    data : bytes
        The code stream.
    level : int
        How often the size is halved; at most the number of wavelet levels.

    Returns
    -------
    numpy.ndarray
        The values.

    Raises
    ------
    FilmError
        DECODE_FAILED if the stream is damaged; other errors of imagecodecs as they are.

    Notes
    -----
    imagecodecs cannot raise errors that occur while lines are copied. Python only prints them, once by each hook, and
    the picture holds whatever was in memory. So the hooks are replaced while the decoder runs.
    """
    # words instead of the errors, because their tracebacks would keep the picture alive in a cycle
    lost: list[str] = []

    def keep(error: sys.UnraisableHookArgs) -> None:
        if _is_of_openjph(error.exc_value):
            lost.append("unraisable")
        else:
            unraisable(error)

    def keep_silent(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _is_of_openjph(error):
            lost.append("printed")
        else:
            printing(kind, error, trace)

    with _hooks_lock:
        unraisable, printing = sys.unraisablehook, sys.excepthook
        sys.unraisablehook, sys.excepthook = keep, keep_silent
        try:
            pixels = imagecodecs.htj2k_decode(data, skipres=level)
        finally:
            sys.unraisablehook, sys.excepthook = unraisable, printing
    if lost:
        raise FilmError(Reason.DECODE_FAILED)
    return pixels


def _is_of_openjph(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and "ojph" in str(error)


def _jpeg(data: bytes, header: PixelHeader, declared: Declared) -> NDArray[Any]:
    """Decode JPEG, with colours by the marker of the stream; without a marker libjpeg would take RGB for YBR."""
    if header.photometric == "RGB" and not declared.has_colour_marker:
        return imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
    return imagecodecs.jpeg8_decode(data)


def _fitted(pixels: NDArray[Any], header: PixelHeader, declared: Declared) -> NDArray[Any]:
    """Fit decoded values to the stored bits.

    A lossy coding may overshoot the range of the stored bits. Such values are clipped, because wrapping would turn
    white specks black. Values in two's complement that are decoded as unsigned keep their low bits.
    """
    if not header.is_grey:
        return pixels
    if pixels.dtype.kind == "i":
        low, high = (-(1 << (header.bits_stored - 1)), header.mask >> 1) if header.is_signed else (0, header.mask)
        return pixels.clip(low, high).astype(np.uint16) & header.mask
    pixels = pixels.astype(np.uint16, copy=False) if header.bits_stored > 8 else pixels
    if header.high_bit + 1 >= declared.precision > header.bits_stored:
        return (pixels >> (declared.precision - header.bits_stored)) & header.mask
    if int(pixels.max()) <= header.mask:
        # to look is cheaper than a copy
        return pixels
    return pixels & header.mask if header.is_signed else np.minimum(pixels, header.mask)
