"""What a code stream declares about itself, read in microseconds before any decoder sees it.

A decoder believes the code stream, not the DICOM header: a JPEG of a few hundred bytes that declares 60000 x 60000
pixels makes a good library allocate gigabytes. So the declared size is compared with Rows and Columns first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicom_io.errors import FilmError
from dicom_io.reasons import Reason
from dicom_io.syntaxes import Coding

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# Start of frame: baseline, extended, progressive, lossless (Huffman), JPEG-LS. The arithmetic and hierarchical ones
# (C5 to CF) are in no transfer syntax of the table.
_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xF7})
_OTHER_FRAME_MARKERS = frozenset({0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_J2K_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_MAX_J2K_TILES = 65_535
# End of image and end of code stream: libjpeg-turbo and OpenJPH fill up what is missing with grey and say nothing,
# CharLS may search for it for seconds. The marker cannot occur within coded data. (OpenJPEG refuses by itself, and some
# writers of JPEG 2000 leave the marker out.) Zeros or other fill may follow, to an even length or more.
_END = b"\xff\xd9"
_TAIL_BYTES = 64


@dataclass(frozen=True, slots=True)
class Declared:
    """Size and depth by the code stream's own header.

    Attributes
    ----------
    rows, columns : int
        Pixels.
    components : int
        1 for grey, 3 for colour.
    precision : int
        Bits a sample.
    names_colours : bool
        Whether a JPEG says by a JFIF or Adobe marker how its components are to be read.
    """

    rows: int
    columns: int
    components: int
    precision: int
    names_colours: bool = False


def declared_by(data: bytes, coding: Coding) -> Declared:
    """Read the code stream's own header.

    Parameters
    ----------
    data : bytes
        One frame's code stream.
    coding : Coding
        JPEG, JPEG_LS, JPEG_2000 or HTJ2K; RLE and NATIVE declare nothing.

    Returns
    -------
    Declared
        What the stream says of itself.

    Raises
    ------
    FilmError
        DECODE_FAILED if there is no such header, it is contradictory or the stream is cut short.
    """
    if coding is not Coding.JPEG_2000 and data.rfind(_END, -_TAIL_BYTES) < 0:
        raise FilmError(Reason.DECODE_FAILED)
    try:
        if coding in (Coding.JPEG_2000, Coding.HTJ2K):
            return _declared_by_j2k(data)
        return _declared_by_jpeg(data)
    except (struct.error, IndexError):
        raise FilmError(Reason.DECODE_FAILED) from None


def _declared_by_jpeg(data: bytes) -> Declared:
    """Walk the marker segments up to the first scan (ITU-T T.81 B.1, T.87 C.1)."""
    if data[:2] != bytes((0xFF, _SOI)):
        raise FilmError(Reason.DECODE_FAILED)
    frames: list[tuple[int, int, int, int]] = []
    names_colours = False
    at = 2
    while (marker := _marker_at(data, at)) not in (_SOS, _EOI):
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _OTHER_FRAME_MARKERS:
            raise FilmError(Reason.DECODE_FAILED)
        if marker in _FRAME_MARKERS:
            frames.append(struct.unpack_from(">BHHB", data, at + 4))
        names_colours = names_colours or _is_colour_marker(marker, data[at + 4 : at + 9])
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    if len(frames) != 1:
        raise FilmError(Reason.DECODE_FAILED)
    precision, rows, columns, components = frames[0]
    return Declared(rows, columns, components, precision, names_colours)


def _marker_at(data: bytes, at: int) -> int:
    if data[at] != 0xFF:
        raise FilmError(Reason.DECODE_FAILED)
    return data[at + 1]


def _is_colour_marker(marker: int, start: bytes) -> bool:
    return (marker == 0xE0 and start == b"JFIF\0") or (marker == 0xEE and start == b"Adobe")


def _declared_by_j2k(data: bytes) -> Declared:
    """Read the SIZ marker segment (ITU-T T.800 A.5.1)."""
    start = _j2k_start(data)
    if data[start : start + 4] != _J2K_START:
        raise FilmError(Reason.DECODE_FAILED)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">8IH", data, start + 8
    )
    if not (left < right and top < bottom and tile_width and tile_height and components):
        raise FilmError(Reason.DECODE_FAILED)
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if not 0 < tiles <= _MAX_J2K_TILES:
        raise FilmError(Reason.DECODE_FAILED)
    precisions = {(data[start + 42 + 3 * component] & 0x7F) + 1 for component in range(components)}
    if len(precisions) != 1:
        raise FilmError(Reason.DECODE_FAILED)
    return Declared(bottom - top, right - left, components, precisions.pop())


def _j2k_start(data: bytes) -> int:
    """Where the code stream begins; some writers put the whole JP2 file into the element (T.800 I.4)."""
    if not data.startswith(_JP2_SIGNATURE):
        return 0
    at = 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if length == 1:
            length, header = struct.unpack_from(">Q", data, at + 8)[0], 16
        if kind == b"jp2c":
            return at + header
        if length < header:
            raise FilmError(Reason.DECODE_FAILED)
        at += length
