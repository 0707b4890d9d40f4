"""Step 6b of the flow: look-up tables of the Modality, VOI and Presentation LUT sequences and of palettes.

PS3.3 C.7.6.3.1.5, C.11.1.1, C.11.2.1.1 and C.11.4.1 describe the same two elements, descriptor and data. Any part of
the descriptor may be wrong, so whatever the data show is taken from the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dicom_io.header.elements import Elements

_DESCRIPTOR, _DATA = 0x00283002, 0x00283006
_SIGN, _WORD = 0x8000, 0x10000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Lut:
    """A look-up table.

    Attributes
    ----------
    entries : numpy.ndarray
        Shape (number of entries,), unsigned integers, two or more.
    first : int
        The input value of the first entry as an unsigned 16-bit number, 0 to 65535; its sign depends on the inputs.
    white : float
        The largest output that its bits allow.
    """

    entries: NDArray[np.integer]
    first: int
    white: float

    def of(self, values: Floats) -> Floats:
        """Look values up.

        Parameters
        ----------
        values : numpy.ndarray
            All values that can occur, also fractions; shape (n,).

        Returns
        -------
        numpy.ndarray
            Shape (n,), 0 to ``white``. Values below the first input get the first entry, values above the last input
            get the last entry (PS3.3 C.11.1.1, C.11.2.1.1).
        """
        at = (np.rint(values) - self._signed_first(values)).clip(0, self.entries.size - 1).astype(np.intp)
        outputs: Floats = self.entries[at].astype(np.float64)
        return outputs

    def of_shares(self, shares: Floats) -> Floats:
        """Look up shares of the input range, 0 to 1, which the table spans (PS3.3 C.11.4.1); the shape is kept."""
        at = np.rint(shares.clip(0, 1) * (self.entries.size - 1)).astype(np.intp)
        outputs: Floats = self.entries[at].astype(np.float64)
        return outputs

    def _signed_first(self, values: Floats) -> int:
        """The first input with its sign: the descriptor is SS for signed values, but implicit data sets do not say so.

        An unsigned first input above all values would map every value to one grey, so it is read as signed too.
        """
        is_signed = self.first >= _SIGN and (values.min() < 0 or self.first > values.max())
        return self.first - _WORD if is_signed else self.first


def first_lut(elements: Elements, sequence: int) -> Lut | None:
    """Read the first usable LUT of a sequence.

    Parameters
    ----------
    elements : Elements
        The data set.
    sequence : int
        The tag of Modality, VOI or Presentation LUT Sequence.

    Returns
    -------
    Lut or None
        None when no item has a descriptor of three values and at least two entries.
    """
    items = elements.items(sequence)
    return next((lut for item in items if (lut := read_lut(item, _DESCRIPTOR, _DATA)) is not None), None)


def read_lut(elements: Elements, descriptor_tag: int, data_tag: int) -> Lut | None:
    """Read one LUT.

    Parameters
    ----------
    elements : Elements
        The data set or item that holds it.
    descriptor_tag, data_tag : int
        The tags of its descriptor and of its data.

    Returns
    -------
    Lut or None
        None without a descriptor of three values and at least two entries.
    """
    descriptor = elements.integers(descriptor_tag, most=3)
    if len(descriptor) != 3:
        return None
    # a count of 0 means 65536, which 16 bits cannot hold
    entries = _entries(elements, data_tag, descriptor[0] % _WORD or _WORD)
    if entries.size < 2:
        return None
    return Lut(entries, descriptor[1] % _WORD, _white(int(entries.max()), descriptor[2]))


def _entries(elements: Elements, tag: int, count: int) -> NDArray[np.integer]:
    """Read the entries of a LUT.

    The length of the data shows whether entries have 8 or 16 bits. The third value of the descriptor is the number of
    bits that are used, and any value representation (US, OW, UN, OB) may hold both kinds.
    """
    data = elements.raw(tag)
    if not isinstance(data, bytes):
        return np.array([number & 0xFFFF for number in elements.integers(tag, most=_WORD)], dtype=np.uint16)[:count]
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if elements.is_little_endian(tag) else ">u2")
    if len(data) not in (count, count + 1):
        return words[:count]
    # of bytes packed in words the first is the low byte of its word, in either byte order
    return words.astype("<u2").view("u1")[:count] if len(data) % 2 == 0 else np.frombuffer(data, "u1")[:count]


def _white(largest: int, bits: int) -> float:
    """White of a LUT: by its declared bits, unless no entry reaches their upper half or one exceeds them.

    Some writers declare 16 bits for a table of 12 bits, which would make the film almost black.
    """
    declared = (1 << bits) - 1 if 8 <= bits <= 16 else 0xFFFF
    needed = (1 << max(largest, 1).bit_length()) - 1
    return float(declared if declared // 2 < largest <= declared else needed)
