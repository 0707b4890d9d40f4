"""Step 6a of the flow: pixel data -> stored values, by the one decoder pinned to each coding.

The data set is read (``part10``), its pixel description is checked (``pixel_header``), and its one frame is taken from
the fragments. Where the bytes show their coding without doubt, that coding is used; otherwise the transfer syntax
decides. An archive may have changed the compression and left the transfer syntax as it was. Uncompressed pixels are
read by ``native``, compressed ones by ``decoders``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dicom_io.errors import FilmError, HeaderUnreadable, NotDicom
from dicom_io.header.elements import Elements
from dicom_io.header.part10 import parse, read_preface, uncompressed_syntax_of
from dicom_io.limits import MAX_FILE_BYTES, MAX_PIXEL_BYTES, MAX_PIXELS, MAX_SEGMENTS
from dicom_io.pixels.codestream import coding_of
from dicom_io.pixels.decoders import Decoded, decode_frame
from dicom_io.pixels.native import native_bytes, native_pixels
from dicom_io.pixels.pixel_header import PixelHeader, pixel_header_of
from dicom_io.pixels.syntaxes import CODINGS, Coding, Decoder
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_FRAMES = 0x00280008
_PIXEL_DATA, _FLOAT_PIXELS, _DOUBLE_PIXELS = 0x7FE00010, 0x7FE00008, 0x7FE00009
# As little endian numbers: (FFFE,E000) and (FFFE,E0DD)
_ITEM, _DELIMITER = 0xE000FFFE, 0xE0DDFFFE
_ITEM_BYTES = b"\xfe\xff\x00\xe0"


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """Stored pixel values with the header that gives them a meaning.

    Attributes
    ----------
    pixels : numpy.ndarray
        Grey and palette: shape (rows, columns), uint8 or uint16, the BitsStored low bits of each value without sign
        extension. Colour: shape (rows, columns, 3), uint8 or uint16.
    is_rgb : bool
        Whether a colour picture is RGB; else it is YBR in full range.
    decoder : Decoder
        The decoder that read the pixels.
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


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The single frame of a DICOM file, not decoded yet.

    Attributes
    ----------
    data : bytes
        The code stream, or the uncompressed pixels.
    coding : Coding
        What the bytes show, else what the transfer syntax says.
    header : PixelHeader
        The pixel description.
    elements : Elements
        The data set.
    """

    data: bytes
    coding: Coding
    header: PixelHeader
    elements: Elements


def read_stored_pixels(path: Path) -> StoredPixels:
    """Decode the single frame of a DICOM file at full size.

    The parameters and errors are those of ``read_frame`` and ``stored_pixels``.
    """
    return stored_pixels(read_frame(path))


def read_frame(path: Path) -> Frame:
    """Read the single frame of a DICOM file without decoding it.

    Parameters
    ----------
    path : pathlib.Path
        A DICOM file or a bare data set.

    Returns
    -------
    Frame
        The frame.

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
    if not _is_encapsulated(data, header, elements, coding):
        return Frame(data, Coding.NATIVE, header, elements)
    code = _frame_of(data)
    coding = coding_of(code) or coding
    if coding is Coding.NATIVE:
        raise FilmError(Reason.DECODE_FAILED)
    return Frame(code, coding, header, elements)


def stored_pixels(frame: Frame) -> StoredPixels:
    """Decode a frame at full size.

    Parameters
    ----------
    frame : Frame
        The frame.

    Returns
    -------
    StoredPixels
        The stored values.

    Raises
    ------
    FilmError
        DECODE_FAILED, TOO_LARGE or UNSUPPORTED_PHOTOMETRIC.
    """
    header = frame.header
    decoded = _decoded(frame)
    dtype: type[np.uint8 | np.uint16] = np.uint8 if header.bits_allocated == 8 else np.uint16
    return StoredPixels(
        decoded.pixels.astype(dtype, copy=False), decoded.is_rgb, decoded.decoder, header, frame.elements
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
                inflate_limit=MAX_PIXEL_BYTES,
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


def _decoded(frame: Frame) -> Decoded:
    if frame.coding is not Coding.NATIVE:
        return decode_frame(frame.data, frame.header, frame.coding)
    elements = frame.elements
    pixels = native_pixels(
        frame.data,
        frame.header,
        is_big_endian=not elements.is_little_endian(_PIXEL_DATA),
        is_word=elements.is_word(_PIXEL_DATA),
    )
    return Decoded(pixels, frame.header.photometric == "RGB", Decoder.NUMPY)


def _is_encapsulated(data: bytes, header: PixelHeader, elements: Elements, coding: Coding) -> bool:
    """Whether the pixel data are in fragments; by PS3.5 A.4 they are if, and only if, they have no length.

    Some writers give fragments a length; others change the pixels and leave the transfer syntax as it was.
    """
    if elements.is_undefined_length(_PIXEL_DATA):
        return True
    surplus = len(data) - native_bytes(header)
    if coding is Coding.NATIVE:
        return surplus < 0 and data.startswith(_ITEM_BYTES)
    return surplus not in (0, 1)


def _frame_of(data: bytes) -> bytes:
    """Join the one frame: all fragments after the basic offset table belong to it."""
    first, *others = _fragments(data)
    # a few writers leave the table out; its first offset is 0, so it cannot be mistaken for a code stream
    fragments = others if coding_of(first) is None else [first, *others]
    return fragments[0] if len(fragments) == 1 else b"".join(fragments)


def _fragments(data: bytes) -> Iterator[bytes]:
    at = 0
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            break
        tag, length = struct.unpack_from("<LL", data, at)
        if tag == _DELIMITER and at:
            return
        at += 8
        if tag != _ITEM or length > len(data) - at:
            raise FilmError(Reason.DECODE_FAILED)
        yield data[at : at + length]
        at += length
    if not at or at + 8 <= len(data):
        raise FilmError(Reason.DECODE_FAILED)
