"""Step 6a of the flow: pixel data -> stored values, by the one decoder pinned to the transfer syntax.

Everything that can be checked is checked first: the header's own pixel description, then the size that the code
stream declares. Only then a decoder runs, and its result must have exactly the declared shape.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from pydicom.encaps import generate_fragments, parse_basic_offsets

from dicom_io.codestream import Declared, declared_by
from dicom_io.elements import CONVERSION_ERRORS, Elements
from dicom_io.errors import FilmError, HeaderUnreadable, NotDicom
from dicom_io.limits import MAX_FILE_BYTES, MAX_PIXELS
from dicom_io.part10 import parse, read_preface, uncompressed_syntax_of
from dicom_io.reasons import Reason
from dicom_io.syntaxes import CODINGS, Coding, Decoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS = (
    *(0x00280002, 0x00280004, 0x00280006),
    *(0x00280008, 0x00280010, 0x00280011),
)
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_PIXEL_DATA, _FLOAT_PIXELS, _DOUBLE_PIXELS = 0x7FE00010, 0x7FE00008, 0x7FE00009

_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"})
_PALETTE = "PALETTE COLOR"

_DECODERS = {
    Coding.JPEG: Decoder.LIBJPEG_TURBO,
    Coding.JPEG_LS: Decoder.CHARLS,
    Coding.JPEG_2000: Decoder.OPENJPEG,
    Coding.HTJ2K: Decoder.OPENJPH,
}

# RuntimeError is the base of imagecodecs' errors; none of their texts is ever shown.
_DECODER_ERRORS = (RuntimeError, MemoryError, *CONVERSION_ERRORS)


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
        The photometric interpretation, one that is read here.
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
    def mask(self) -> int:
        """The largest unsigned stored value."""
        return (1 << self.bits_stored) - 1


@dataclass(frozen=True, slots=True)
class Stored:
    """Stored pixel values with the header they are to be read by.

    Attributes
    ----------
    pixels : numpy.ndarray
        Grey and palette: shape (rows, columns), uint8 or uint16, the BitsStored low bits of each value as they are
        (a negative value in two's complement). Colour: shape (rows, columns, 3), uint8 or uint16.
    is_rgb : bool
        Whether a colour picture is RGB already; else it is YBR full range.
    decoder : Decoder
        What read the pixels.
    header : PixelHeader
        The pixel description.
    elements : Elements
        The data set, for the grey-scale transforms.
    """

    pixels: NDArray[np.uint8 | np.uint16]
    is_rgb: bool
    decoder: Decoder
    header: PixelHeader
    elements: Elements


def read_stored(path: Path) -> Stored:
    """Decode the single frame of a DICOM file at full size.

    Parameters
    ----------
    path : pathlib.Path
        A DICOM file or a bare data set.

    Returns
    -------
    Stored
        The stored values.

    Raises
    ------
    FilmError
        NOT_DICOM, UNREADABLE, UNSUPPORTED_TRANSFER_SYNTAX, NO_PIXEL_DATA, MULTI_FRAME, UNSUPPORTED_PHOTOMETRIC,
        TOO_LARGE or DECODE_FAILED.
    OSError
        If the file cannot be read.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FilmError(Reason.TOO_LARGE)
    elements, syntax = _read_data_set(path)
    coding = CODINGS.get(syntax)
    if coding is None:
        raise FilmError(Reason.UNSUPPORTED_TRANSFER_SYNTAX)
    if elements.integer(_FRAMES, default=1) > 1:
        raise FilmError(Reason.MULTI_FRAME)
    data = _pixel_bytes(elements)
    header = pixel_header_of(elements)
    if header.rows * header.columns > MAX_PIXELS:
        raise FilmError(Reason.TOO_LARGE)
    if coding is Coding.NATIVE:
        return _native(data, header, elements, syntax)
    return _encapsulated(data, header, elements, coding)


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
        UNSUPPORTED_PHOTOMETRIC if it is missing, contradictory or not read here; DECODE_FAILED without a size.
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


def _read_data_set(path: Path) -> tuple[Elements, str]:
    """The data set up to its pixel data, and its transfer syntax."""
    try:
        with path.open("rb") as fp:
            preface = read_preface(fp)
            syntax = preface.transfer_syntax_uid or uncompressed_syntax_of(fp)
            ds = parse(
                fp,
                preface.transfer_syntax_uid,
                stop_when=lambda tag, _vr, _length: tag > _PIXEL_DATA,
                inflate_limit=MAX_FILE_BYTES,
            )
    except NotDicom:
        raise FilmError(Reason.NOT_DICOM) from None
    except HeaderUnreadable:
        raise FilmError(Reason.UNREADABLE) from None
    return Elements(ds), syntax


def _pixel_bytes(elements: Elements) -> bytes:
    data = elements.raw(_PIXEL_DATA)
    if isinstance(data, bytes) and data:
        return data
    if elements.has(_FLOAT_PIXELS) or elements.has(_DOUBLE_PIXELS):
        raise FilmError(Reason.UNSUPPORTED_PHOTOMETRIC)
    raise FilmError(Reason.NO_PIXEL_DATA)


def _native(data: bytes, header: PixelHeader, elements: Elements, syntax: str) -> Stored:
    """Uncompressed pixel data (PS3.5 8.1.1 and annex D of PS3.5 for the order of bytes)."""
    is_subsampled = header.photometric == "YBR_FULL_422"
    count = header.rows * header.columns * (2 if is_subsampled else header.samples)
    is_big_endian = syntax == "1.2.840.10008.1.2.2"
    if len(data) < count * header.bits_allocated // 8:
        raise FilmError(Reason.DECODE_FAILED)
    if header.bits_allocated == 16:
        flat = np.frombuffer(data, ">u2" if is_big_endian else "<u2", count)
    elif is_big_endian and elements.is_word(_PIXEL_DATA):
        # bytes coded as 16-bit words stand in pairs the other way round
        flat = np.frombuffer(data[: len(data) // 2 * 2], "u2").byteswap().view("u1")[:count]
    else:
        flat = np.frombuffer(data, "u1", count)
    if is_subsampled:
        return _stored(_expanded_422(flat, header), header, elements, Decoder.NUMPY, is_rgb=False)
    return _stored(_shaped(flat, header), header, elements, Decoder.NUMPY, is_rgb=header.photometric == "RGB")


def _encapsulated(data: bytes, header: PixelHeader, elements: Elements, coding: Coding) -> Stored:
    """Compressed pixel data: all fragments belong to the one frame (PS3.5 A.4)."""
    try:
        fp = io.BytesIO(data)
        parse_basic_offsets(fp)
        frame = b"".join(generate_fragments(fp))
    except CONVERSION_ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None
    if coding is Coding.RLE:
        return _rle(frame, header, elements)
    declared = declared_by(frame, coding)
    if (declared.rows, declared.columns, declared.components) != (header.rows, header.columns, header.samples):
        raise FilmError(Reason.DECODE_FAILED)
    pixels = _decoded(frame, header, coding, declared)
    # The colour transforms of JPEG 2000 are undone by the decoder, that of JPEG is by libjpeg-turbo
    is_rgb = header.photometric != "YBR_FULL" or coding is Coding.JPEG
    return _stored(_fitted(pixels, header, declared), header, elements, _DECODERS[coding], is_rgb=is_rgb)


def _decoded(frame: bytes, header: PixelHeader, coding: Coding, declared: Declared) -> NDArray[Any]:
    decoders: dict[Coding, Callable[[bytes], NDArray[Any]]] = {
        Coding.JPEG: lambda data: _jpeg(data, header, declared),
        Coding.JPEG_LS: imagecodecs.jpegls_decode,
        Coding.JPEG_2000: imagecodecs.jpeg2k_decode,
        Coding.HTJ2K: imagecodecs.htj2k_decode,
    }
    shape = (header.rows, header.columns) + ((3,) if header.samples == 3 else ())
    try:
        pixels = np.asarray(decoders[coding](frame))
    except _DECODER_ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None
    if pixels.shape != shape or pixels.dtype.kind not in "ui" or pixels.dtype.itemsize > 2:
        raise FilmError(Reason.DECODE_FAILED)
    return pixels


def _jpeg(data: bytes, header: PixelHeader, declared: Declared) -> NDArray[Any]:
    """Colours by the stream's own marker; without one libjpeg would take RGB components for YBR."""
    if header.photometric == "RGB" and not declared.names_colours:
        return imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
    return imagecodecs.jpeg8_decode(data)


def _rle(frame: bytes, header: PixelHeader, elements: Elements) -> Stored:
    """RLE Lossless (PS3.5 annex G): one segment for each byte of each sample, most significant first."""
    size = header.rows * header.columns * header.samples * header.bits_allocated // 8
    if int.from_bytes(frame[:4], "little") != header.samples * header.bits_allocated // 8:
        raise FilmError(Reason.DECODE_FAILED)
    dtype = np.dtype("<u2" if header.bits_allocated == 16 else "u1")
    try:
        # out bounds what the runs may expand to
        data = imagecodecs.dicomrle_decode(frame, dtype, out=size)
    except _DECODER_ERRORS:
        raise FilmError(Reason.DECODE_FAILED) from None
    if len(data) != size:
        raise FilmError(Reason.DECODE_FAILED)
    flat = np.frombuffer(data, dtype)
    planes = flat.reshape(header.samples, header.rows, header.columns)
    pixels = planes[0] if header.samples == 1 else np.moveaxis(planes, 0, -1)
    return _stored(_shifted(pixels, header), header, elements, Decoder.PACKBITS, is_rgb=header.photometric == "RGB")


def _shaped(flat: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    if header.samples == 1:
        return _shifted(flat.reshape(header.rows, header.columns), header)
    if header.is_planar:
        return np.moveaxis(flat.reshape(3, header.rows, header.columns), 0, -1)
    return flat.reshape(header.rows, header.columns, 3)


def _shifted(pixels: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    """Only the stored bits: those beside them may hold overlays or anything else (PS3.5 8.1.1)."""
    return (pixels >> (header.high_bit + 1 - header.bits_stored)) & header.mask


def _fitted(pixels: NDArray[Any], header: PixelHeader, declared: Declared) -> NDArray[Any]:
    """Decoded values brought to the stored bits.

    A lossy coding may overshoot the range of the stored bits; such values are clipped, for wrapping them around would
    make black specks of white ones. Values in two's complement that come unsigned keep their low bits.
    """
    if not header.is_grey:
        return pixels
    if pixels.dtype.kind == "i":
        low, high = (-(1 << (header.bits_stored - 1)), header.mask >> 1) if header.is_signed else (0, header.mask)
        return pixels.clip(low, high).astype(np.uint16) & header.mask
    if header.high_bit + 1 >= declared.precision > header.bits_stored:
        return (pixels >> (declared.precision - header.bits_stored)) & header.mask
    return pixels & header.mask if header.is_signed else np.minimum(pixels, header.mask)


def _expanded_422(flat: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    """YBR_FULL_422 uncompressed: Y1 Y2 Cb Cr for each two pixels of a row (PS3.3 C.7.6.3.1.2)."""
    if header.columns % 2 or header.bits_allocated != 8:
        raise FilmError(Reason.UNSUPPORTED_PHOTOMETRIC)
    groups = flat.reshape(header.rows, header.columns // 2, 4)
    luma = groups[:, :, :2].reshape(header.rows, header.columns)
    chroma = np.repeat(groups[:, :, 2:], 2, axis=1)
    return np.dstack((luma, chroma))


def _stored(pixels: NDArray[Any], header: PixelHeader, elements: Elements, decoder: Decoder, *, is_rgb: bool) -> Stored:
    dtype = np.uint8 if header.bits_allocated == 8 else np.uint16
    return Stored(pixels.astype(dtype, copy=False), is_rgb, decoder, header, elements)
