"""Step 6a of the flow: pixel data -> stored values, by the one decoder pinned to each coding.

The data set is read (``part10``), its pixel description checked (``pixel_header``), and the one frame taken out of its
fragments. What stands there then decides, where it can be told without doubt, and not what the file claims of itself:
an archive may well have compressed or uncompressed the pixels and left the transfer syntax as it was. Uncompressed
pixels go to ``native``, compressed ones to ``decoders``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dicom_io.codestream import coding_of
from dicom_io.decoders import Decoded, decode_frame
from dicom_io.elements import Elements
from dicom_io.errors import FilmError, HeaderUnreadable, NotDicom
from dicom_io.limits import MAX_FILE_BYTES, MAX_PIXEL_BYTES, MAX_PIXELS, MAX_SEGMENTS
from dicom_io.native import native_bytes, native_pixels
from dicom_io.part10 import parse, read_preface, uncompressed_syntax_of
from dicom_io.pixel_header import PixelHeader, pixel_header_of
from dicom_io.reasons import Reason
from dicom_io.syntaxes import CODINGS, Coding, Decoder

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
    decoded = _decoded(data, header, elements, coding)
    dtype: type[np.uint8 | np.uint16] = np.uint8 if header.bits_allocated == 8 else np.uint16
    return Stored(decoded.pixels.astype(dtype, copy=False), decoded.is_rgb, decoded.decoder, header, elements)


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


def _decoded(data: bytes, header: PixelHeader, elements: Elements, coding: Coding) -> Decoded:
    if _is_encapsulated(data, header, elements, coding):
        return decode_frame(_frame_of(data), header, coding)
    pixels = native_pixels(
        data,
        header,
        is_big_endian=not elements.is_little_endian(_PIXEL_DATA),
        is_word=elements.is_word(_PIXEL_DATA),
    )
    return Decoded(pixels, header.photometric == "RGB", Decoder.NUMPY)


def _is_encapsulated(data: bytes, header: PixelHeader, elements: Elements, coding: Coding) -> bool:
    """Whether the pixel data stand in fragments, which is so exactly when they have no length (PS3.5 A.4).

    Some writers give a length all the same; others leave the transfer syntax as it was before they changed the pixels.
    """
    if elements.is_undefined_length(_PIXEL_DATA):
        return True
    surplus = len(data) - native_bytes(header)
    if coding is Coding.NATIVE:
        return surplus < 0 and data.startswith(_ITEM_BYTES)
    return surplus not in (0, 1)


def _frame_of(data: bytes) -> bytes:
    """The one frame: all fragments behind the basic offset table belong to it."""
    first, *others = _fragments(data)
    # a few writers leave the table out; it holds offsets, the first of which is 0, so no code stream is taken for one
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
