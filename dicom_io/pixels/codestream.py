"""Step 6a of the flow: what a code stream declares about itself, read in microseconds before any decoder runs.

A decoder trusts the code stream, not the DICOM header: a JPEG of a few hundred bytes that declares 60000 x 60000 pixels
makes even a good library allocate gigabytes. So the declared size is compared with Rows and Columns first.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from dicom_io.errors import FilmError
from dicom_io.limits import MAX_SEGMENTS
from dicom_io.pixels.codestream_j2k import declared_by_j2k, is_high_throughput, starts_like_j2k
from dicom_io.pixels.declared import Declared
from dicom_io.pixels.syntaxes import Coding
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = b"\xff\xd8"
_EOI, _SOS = 0xD9, 0xDA
_JPEG_LS_FRAME = 0xF7
# Start of frame: baseline, extended, progressive, lossless (Huffman), JPEG-LS. No transfer syntax of the table has the
# arithmetic and hierarchical ones (C5 to CF).
_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, _JPEG_LS_FRAME})
_OTHER_FRAME_MARKERS = frozenset({0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
# Decoders fill missing pixels with grey, so a stream that is too short for its size is refused. A block of 8 x 8 pixels
# has at least one bit; in the lossless process each pixel has one, and in JPEG-LS each run of 32768 pixels.
_LOSSY_PIXELS_A_BYTE = 512
_PIXELS_A_BYTE = {0xC3: 8, _JPEG_LS_FRAME: 1 << 18}
# Each scan costs a pass over the whole picture, even a scan of two bytes; progressive pictures have about ten.
_MAX_SCANS = 100
# End of image and end of code stream. Without this marker libjpeg-turbo and OpenJPH fill the rest with grey and report
# no error, and CharLS may search for it for seconds. The marker cannot occur within coded data. Zeros or other fill may
# follow it. (OpenJPEG refuses cut streams itself, and some writers of JPEG 2000 leave the marker out.)
_END = b"\xff\xd9"
_TAIL_BYTES = 64


def coding_of(data: bytes) -> Coding | None:
    """Detect the coding of a code stream by its first bytes.

    Parameters
    ----------
    data : bytes
        One frame.

    Returns
    -------
    Coding or None
        JPEG, JPEG_LS, JPEG_2000 or HTJ2K; None for codings without a signature: RLE, deflated frames, plain pixels.
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
    """Read the header of a code stream.

    Parameters
    ----------
    data : bytes
        One frame's code stream.
    coding : Coding
        JPEG, JPEG_LS, JPEG_2000 or HTJ2K; the other codings declare nothing.

    Returns
    -------
    Declared
        Size and depth.

    Raises
    ------
    FilmError
        DECODE_FAILED if the header is missing, contradictory or above the limits, or if the stream is cut short.
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
    if not data.startswith(_START) or _scans(data) > _MAX_SCANS:
        raise FilmError(Reason.DECODE_FAILED)
    frames: list[tuple[int, int, int, int]] = []
    pixels_a_byte = 0
    has_colour_marker = False
    marker = at = 0
    for marker, at in _segments(data):
        if marker in _OTHER_FRAME_MARKERS:
            raise FilmError(Reason.DECODE_FAILED)
        if marker in _FRAME_MARKERS:
            frames.append(struct.unpack_from(">BHHB", data, at))
            pixels_a_byte = _PIXELS_A_BYTE.get(marker, _LOSSY_PIXELS_A_BYTE)
        has_colour_marker = has_colour_marker or _is_colour_marker(marker, data[at : at + 5])
    # an end marker before the scan does not count: CharLS would search for another one for seconds
    if len(frames) != 1 or marker != _SOS or data.rfind(_END, at) < 0:
        raise FilmError(Reason.DECODE_FAILED)
    precision, rows, columns, components = frames[0]
    if rows * columns > len(data) * pixels_a_byte:
        raise FilmError(Reason.DECODE_FAILED)
    return Declared(rows, columns, components, precision, has_colour_marker)


def _scans(data: bytes) -> int:
    """How often the marker of a scan occurs. Pairs of bytes are compared in a tenth of the time of ``bytes.count``."""
    pairs = (np.frombuffer(data, "<u2", (len(data) - first) // 2, first) for first in (0, 1))
    return sum(int(np.count_nonzero(pair == (_SOS << 8 | 0xFF))) for pair in pairs)


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Iterate over the marker segments up to that of the first scan, each with the position of its parameters."""
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
