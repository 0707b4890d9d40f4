"""What a code stream declares about itself, read in microseconds before any decoder sees it.

A decoder believes the code stream, not the DICOM header: a JPEG of a few hundred bytes that declares 60000 x 60000
pixels makes a good library allocate gigabytes. So the declared size is compared with Rows and Columns first.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from dicom_io.codestream_j2k import declared_by_j2k, is_high_throughput, starts_like_j2k
from dicom_io.declared import Declared
from dicom_io.errors import FilmError
from dicom_io.limits import MAX_SEGMENTS
from dicom_io.reasons import Reason
from dicom_io.syntaxes import Coding

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = b"\xff\xd8"
_EOI, _SOS = 0xD9, 0xDA
_JPEG_LS_FRAME = 0xF7
# Start of frame: baseline, extended, progressive, lossless (Huffman), JPEG-LS. The arithmetic and hierarchical ones
# (C5 to CF) are in no transfer syntax of the table.
_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, _JPEG_LS_FRAME})
_OTHER_FRAME_MARKERS = frozenset({0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
# What is missing is filled up with grey, so a stream too short for its size is no picture: a block of 8 x 8 pixels has
# a bit at least, in the lossless process each pixel has, and in JPEG-LS each 32768.
_LOSSY_PIXELS_A_BYTE = 512
_PIXELS_A_BYTE = {0xC3: 8, _JPEG_LS_FRAME: 1 << 18}
# Each scan costs a pass over the whole picture, even one of two bytes; progressive pictures have ten or so.
_MAX_SCANS = 100
# End of image and end of code stream: libjpeg-turbo and OpenJPH fill up what is missing with grey and say nothing,
# CharLS may search for it for seconds. The marker cannot occur within coded data. (OpenJPEG refuses by itself, and some
# writers of JPEG 2000 leave the marker out.) Zeros or other fill may follow, to an even length or more.
_END = b"\xff\xd9"
_TAIL_BYTES = 64


def coding_of(data: bytes) -> Coding | None:
    """How a code stream itself says it is coded.

    Parameters
    ----------
    data : bytes
        One frame.

    Returns
    -------
    Coding or None
        JPEG, JPEG_LS, JPEG_2000 or HTJ2K; None for what names itself in no way: RLE, deflated frames, plain pixels.
    """
    if starts_like_j2k(data):
        return Coding.HTJ2K if is_high_throughput(data) else Coding.JPEG_2000
    if not data.startswith(_START):
        return None
    try:
        frame = next((marker for marker, _ in _segments(data) if marker in _FRAME_MARKERS), None)
    except (FilmError, struct.error, IndexError):
        return None
    return Coding.JPEG_LS if frame == _JPEG_LS_FRAME else Coding.JPEG


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
        DECODE_FAILED if there is no such header, it is contradictory, it asks for too much or the stream is cut short.
    """
    if coding is not Coding.JPEG_2000 and not _is_ended(data):
        raise FilmError(Reason.DECODE_FAILED)
    try:
        if coding in (Coding.JPEG_2000, Coding.HTJ2K):
            return declared_by_j2k(data, must_be_whole=coding is Coding.HTJ2K)
        return _declared_by_jpeg(data)
    except (struct.error, IndexError):
        raise FilmError(Reason.DECODE_FAILED) from None


def _is_ended(data: bytes) -> bool:
    return data.rfind(_END, -_TAIL_BYTES) >= 0 or data.rstrip(b"\0").rfind(_END, -_TAIL_BYTES) >= 0


def _declared_by_jpeg(data: bytes) -> Declared:
    """Walk the marker segments up to the first scan (ITU-T T.81 B.1, T.87 C.1)."""
    if not data.startswith(_START) or data.count(bytes((0xFF, _SOS))) > _MAX_SCANS:
        raise FilmError(Reason.DECODE_FAILED)
    frames: list[tuple[int, int, int, int]] = []
    pixels_a_byte = 0
    names_colours = False
    marker = at = 0
    for marker, at in _segments(data):
        if marker in _OTHER_FRAME_MARKERS:
            raise FilmError(Reason.DECODE_FAILED)
        if marker in _FRAME_MARKERS:
            frames.append(struct.unpack_from(">BHHB", data, at))
            pixels_a_byte = _PIXELS_A_BYTE.get(marker, _LOSSY_PIXELS_A_BYTE)
        names_colours = names_colours or _is_colour_marker(marker, data[at : at + 5])
    # an end that stands before the scan is none: CharLS looks for it for seconds
    if len(frames) != 1 or marker != _SOS or data.rfind(_END, at) < 0:
        raise FilmError(Reason.DECODE_FAILED)
    precision, rows, columns, components = frames[0]
    if rows * columns > len(data) * pixels_a_byte:
        raise FilmError(Reason.DECODE_FAILED)
    return Declared(rows, columns, components, precision, names_colours)


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The marker segments up to the first scan's, each with the place of its parameters."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker = _marker_at(data, at)
        if marker == _EOI:
            return
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, at + 4
        if marker == _SOS:
            return
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise FilmError(Reason.DECODE_FAILED)


def _marker_at(data: bytes, at: int) -> int:
    if data[at] != 0xFF:
        raise FilmError(Reason.DECODE_FAILED)
    return data[at + 1]


def _is_colour_marker(marker: int, start: bytes) -> bool:
    return (marker == 0xE0 and start == b"JFIF\0") or (marker == 0xEE and start == b"Adobe")
