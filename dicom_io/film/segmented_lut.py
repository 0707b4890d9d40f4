"""Step 6b of the flow: bounded expansion of segmented palettes (PS3.3 C.7.9.2).

Forty bytes may describe a table of 65,536 entries, and a hostile table of a few kilobytes may describe gigabytes.
Entries beyond the count of the descriptor are never computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dicom_io.film.luts import Lut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicom_io.header.elements import Elements

_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
_MOST_ENTRIES = 1 << 16


def read_segmented_lut(elements: Elements, descriptor_tag: int, data_tag: int) -> Lut | None:
    """Read the segmented palette of one colour.

    Parameters
    ----------
    elements : Elements
        The data set.
    descriptor_tag, data_tag : int
        The tags of its descriptor and of its segments.

    Returns
    -------
    Lut or None
        None without a descriptor of three values and segments that fill the table it describes.
    """
    descriptor, data = elements.integers(descriptor_tag, most=3), elements.raw(data_tag)
    if len(descriptor) != 3 or descriptor[2] not in (8, 16) or not isinstance(data, bytes):
        return None
    count, bits = descriptor[0] % _MOST_ENTRIES or _MOST_ENTRIES, descriptor[2]
    order = "<" if elements.is_little_endian(data_tag) else ">"
    words = np.frombuffer(data[: len(data) * 8 // bits * bits // 8], f"{order}u{bits // 8}")
    entries = _Expansion(words, count).entries()
    if entries is None:
        return None
    return Lut(entries, descriptor[1] % _MOST_ENTRIES, float((1 << bits) - 1))


class _Expansion:
    """One expansion of the segments in ``words`` to ``count`` entries."""

    def __init__(self, words: NDArray[np.unsignedinteger], count: int) -> None:
        self._words, self._count = words, count
        self._parts: list[NDArray[np.float64]] = []
        self._made = 0
        # segments are not empty, so n entries have at most n; this ends loops of empty segments
        self._left = count + 1

    def entries(self) -> NDArray[np.uint16] | None:
        """Return the entries; None if the segments give too few."""
        try:
            self._expand(0, self._words.size, may_refer=True)
        except IndexError:
            return None
        if self._made < self._count:
            return None
        return np.concatenate(self._parts)[: self._count].astype(np.uint16)

    def _expand(self, at: int, segments: int, *, may_refer: bool) -> None:
        """Expand segments from one place on."""
        # a last byte that pads to an even length is not a segment
        while segments and self._made < self._count and at + 1 < self._words.size:
            self._left -= 1
            code, length = int(self._words[at]), int(self._words[at + 1])
            if self._left < 0 or code > _INDIRECT or (code == _INDIRECT and not may_refer):
                raise IndexError
            at = self._segment(code, length, at + 2)
            segments -= 1

    def _segment(self, code: int, length: int, at: int) -> int:
        if code == _DISCRETE:
            self._add(self._words[at : at + length].astype(np.float64))
            return at + length
        if code == _LINEAR:
            start, end = self._parts[-1][-1], float(self._words[at])
            # without the start, which belongs to the segment before (C.7.9.2.2)
            self._add(np.rint(np.linspace(start, end, length + 1)[1:]))
            return at + 1
        width = 4 // self._words.itemsize
        place = sum(int(self._words[at + word]) << (word * 32 // width) for word in range(width))
        # an offset in bytes to segments, which may not refer to others (C.7.9.2.3)
        self._expand(place // self._words.itemsize, length, may_refer=False)
        return at + width

    def _add(self, values: NDArray[np.float64]) -> None:
        if values.size:
            self._parts.append(values)
            self._made += values.size
