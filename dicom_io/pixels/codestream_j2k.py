"""Step 6a of the flow: checks of a JPEG 2000 or HTJ2K code stream before a decoder runs (ITU-T T.800 annex A, T.814).

A code stream of a hundred bytes can declare millions of tiles, precincts or code-blocks, and a decoder takes memory for
each before it reads data, so they are counted first. OpenJPH fills the missing part of a stream with grey and reports
no error, so the tile parts of an HTJ2K stream must follow one another up to its end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.errors import FilmError
from dicom_io.limits import MAX_SEGMENTS
from dicom_io.pixels.declared import Declared
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_QCD, _QCC = 0xFF5C, 0xFF5D
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_FIRST_MARKER = 0xFF01
_SHORTEST_TILE_PART = 14
# Rsiz, bit 14: T.814 is needed for decoding
_NEEDS_HT = 0x40
_MAX_LEVELS = 32
#: More than any radiograph needs: 64 million pixels in tiles of 64 x 64, in code-blocks of 12 x 12.
_MAX_TILES = 1 << 14
_MAX_BLOCKS = 1 << 19
_MAX_PACKETS = 1 << 22
#: 16 bits a pixel need 25 at most.
_MAX_COEFFICIENT_BITS = 30


@dataclass(frozen=True, slots=True)
class _Size:
    """The SIZ marker segment (A.5.1), checked."""

    rows: int
    columns: int
    tiles: int
    tile_width: int
    tile_height: int
    components: int
    precision: int


@dataclass(frozen=True, slots=True)
class _Resolution:
    """One resolution of a tile (B.5 to B.7): its size, and how it is divided."""

    width: int
    height: int
    is_lowest: bool
    #: The exponents of the sides of a precinct.
    across: int
    down: int

    @property
    def precincts(self) -> int:
        """The number of precincts."""
        return _parts(self.width, self.across) * _parts(self.height, self.down)

    def blocks(self, across: int, down: int) -> int:
        """The largest number of code-blocks; a block is not larger than the share of its precinct in a sub-band."""
        if self.is_lowest:
            return _parts(self.width, min(across, self.across)) * _parts(self.height, min(down, self.down))
        width, height = (self.width + 1) // 2, (self.height + 1) // 2
        return 3 * _parts(width, min(across, self.across - 1)) * _parts(height, min(down, self.down - 1))


def _parts(length: int, exponent: int) -> int:
    return (length >> max(exponent, 0)) + 1


def starts_like_j2k(data: bytes) -> bool:
    """Whether the bytes begin like a JPEG 2000 code stream, or like the JP2 file that some writers put in its place.

    Parameters
    ----------
    data : bytes
        One frame.

    Returns
    -------
    bool
        True for every kind of JPEG 2000.
    """
    return data.startswith((_START, _JP2_SIGNATURE))


def is_high_throughput(data: bytes) -> bool:
    """Whether the blocks of a JPEG 2000 code stream are coded by T.814.

    Parameters
    ----------
    data : bytes
        One frame that ``starts_like_j2k``.

    Returns
    -------
    bool
        True for HTJ2K.
    """
    start = data.find(_START)
    return start >= 0 and len(data) > start + 6 and bool(data[start + 6] & _NEEDS_HT)


def declared_by_j2k(data: bytes, *, must_be_whole: bool) -> Declared:
    """Read and check the structure of a code stream.

    Parameters
    ----------
    data : bytes
        One frame.
    must_be_whole : bool
        Whether its tile parts must follow one another up to the end of the code stream.

    Returns
    -------
    Declared
        Size and depth.

    Raises
    ------
    FilmError
        DECODE_FAILED if the stream contradicts itself, is cut short or exceeds the limits.
    struct.error, IndexError
        If a marker segment is cut short.
    """
    start = _start_of(data)
    size = _size_of(data, start)
    at = _checked_segments(data, start + 2, size, until=_SOT)
    parts = 0
    while _marker_at(data, at) == _SOT:
        parts += 1
        _checked_segments(data, at + 12, size, until=_SOD)
        length = struct.unpack_from(">L", data, at + 6)[0]
        # the last tile part may have no length
        at = at + length if length else data.rfind(b"\xff\xd9")
        if 0 < length < _SHORTEST_TILE_PART or parts > MAX_SEGMENTS:
            raise FilmError(Reason.DECODE_FAILED)
    if must_be_whole and _marker_at(data, at) != _EOC:
        raise FilmError(Reason.DECODE_FAILED)
    return Declared(size.rows, size.columns, size.components, size.precision)


@dataclass(frozen=True, slots=True)
class Levels:
    """A code stream that can be decoded at a lower resolution.

    Attributes
    ----------
    start : int
        The position of the code stream in the frame.
    count : int
        The number of wavelet levels: how often the size can be halved.
    rows, columns : int
        The full size in pixels.
    precision : int
        Bits per sample.
    is_reversible : bool
        Whether it has the 5/3 wavelet; else the 9/7 wavelet.
    """

    start: int
    count: int
    rows: int
    columns: int
    precision: int
    is_reversible: bool


def levels_of(data: bytes) -> Levels | None:
    """Read how far a code stream that ``declared_by_j2k`` found whole can be reduced.

    Parameters
    ----------
    data : bytes
        One frame.

    Returns
    -------
    Levels or None
        None unless it has one unsigned component in one tile at the origin, and one coding style for all of it: else
        the samples of a lower resolution are elsewhere than expected.
    """
    start = _start_of(data)
    size = _size_of(data, start)
    is_at_origin = not any(struct.unpack_from(">2L", data, start + 16) + struct.unpack_from(">2L", data, start + 32))
    is_signed = data[start + 42] >> 7
    if size.tiles != 1 or size.components != 1 or not is_at_origin or is_signed:
        return None
    styles = list(_styles(data, start))
    if len(styles) != 1 or styles[0][0] != _COD:
        return None
    style = data[styles[0][1] : styles[0][1] + 10]
    return Levels(start, style[5], size.rows, size.columns, size.precision, is_reversible=style[9] == 1)


def _styles(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Iterate over the COD and COC marker segments of all headers, each with the position of its parameters."""
    at = start + 2
    while (marker := _marker_at(data, at)) != _EOC:
        if marker == _SOT:
            part, length = at, struct.unpack_from(">L", data, at + 6)[0]
        if marker == _SOD:
            # the last tile part may have no length
            at = part + length if length else data.rfind(b"\xff\xd9")
            continue
        if marker in (_COD, _COC):
            yield marker, at + 4
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _start_of(data: bytes) -> int:
    """Find the beginning of the code stream; some writers put a whole JP2 file into the element (T.800 I.4)."""
    at = boxes = 0
    while data.startswith(_JP2_SIGNATURE) and at < len(data):
        boxes += 1
        length, kind = struct.unpack_from(">L4s", data, at)
        header = 8
        if length == 1:
            length, header = struct.unpack_from(">Q", data, at + 8)[0], 16
        if kind == b"jp2c":
            at += header
            break
        if length < header or boxes > MAX_SEGMENTS:
            raise FilmError(Reason.DECODE_FAILED)
        at += length
    if data[at : at + 4] != _START:
        raise FilmError(Reason.DECODE_FAILED)
    return at


def _size_of(data: bytes, start: int) -> _Size:
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">8LH", data, start + 8
    )
    if not (tile_left <= left < right and tile_top <= top < bottom and tile_width and tile_height and components):
        raise FilmError(Reason.DECODE_FAILED)
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    # of each component: depth and sign, then the subsampling across and down
    kinds = set(struct.iter_unpack("3B", data[start + 42 : start + 42 + 3 * components]))
    depth, *subsampling = kinds.pop() if len(kinds) == 1 else (0,)
    if subsampling != [1, 1] or tiles > _MAX_TILES:
        raise FilmError(Reason.DECODE_FAILED)
    rows, columns = bottom - top, right - left
    return _Size(rows, columns, tiles, min(tile_width, columns), min(tile_height, rows), components, (depth & 0x7F) + 1)


def _marker_at(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _checked_segments(data: bytes, at: int, size: _Size, *, until: int) -> int:
    """Check the marker segments of a header, and return the position of the marker that ends it."""
    segments = 0
    while (marker := _marker_at(data, at)) != until:
        segments += 1
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker < _FIRST_MARKER or length < 2 or segments > MAX_SEGMENTS:
            raise FilmError(Reason.DECODE_FAILED)
        body = data[at + 4 : at + 2 + length]
        if marker == _COD:
            _check_style(body[1:5], body[5:], size, has_precincts=bool(body[0] & 1))
        elif marker == _COC:
            _check_style(b"", body[2:], size, has_precincts=bool(body[1] & 1))
        elif marker in (_QCD, _QCC):
            _check_steps(body[marker == _QCC :])
        at += 2 + length
    return at


def _check_style(general: bytes, style: bytes, size: _Size, *, has_precincts: bool) -> None:
    """Bound the code-blocks and packets of a COD or COC marker segment (A.6.1, A.6.2)."""
    layers = int.from_bytes(general[1:3], "big") or 1
    levels, block = style[0], ((style[1] & 0xF) + 2, (style[2] & 0xF) + 2)
    if levels > _MAX_LEVELS:
        raise FilmError(Reason.DECODE_FAILED)
    precincts = style[5 : 6 + levels] if has_precincts else b"\xff" * (levels + 1)
    resolutions = [_resolution(size, levels, at, precinct) for at, precinct in enumerate(precincts)]
    times = size.tiles * size.components
    blocks = times * sum(resolution.blocks(*block) for resolution in resolutions)
    packets = times * layers * sum(resolution.precincts for resolution in resolutions)
    if len(resolutions) <= levels or blocks > _MAX_BLOCKS or packets > _MAX_PACKETS:
        raise FilmError(Reason.DECODE_FAILED)


def _check_steps(quantisation: bytes) -> None:
    """Bound the bits that a QCD or QCC marker segment gives a coefficient (A.6.4, equation E-2).

    OpenJPH ends the process if they do not fit a word. The upper five bits of each step are an exponent; a step is one
    byte, or two if there are mantissas.
    """
    guard_bits, has_mantissas = quantisation[0] >> 5, quantisation[0] & 0x1F > 0
    largest = max(step >> 3 for step in quantisation[1 :: 2 if has_mantissas else 1] or b"\0")
    if largest + guard_bits - 1 > _MAX_COEFFICIENT_BITS:
        raise FilmError(Reason.DECODE_FAILED)


def _resolution(size: _Size, levels: int, at: int, precinct: int) -> _Resolution:
    halved = levels - at
    width, height = (size.tile_width >> halved) + 1, (size.tile_height >> halved) + 1
    return _Resolution(width, height, at == 0, across=precinct & 0xF, down=precinct >> 4)
