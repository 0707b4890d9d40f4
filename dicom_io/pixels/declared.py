"""The size and depth that a code stream declares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Declared:
    """Size and depth by the header of a code stream.

    Attributes
    ----------
    rows, columns : int
        Pixels.
    components : int
        1 for grey, 3 for colour.
    precision : int
        Bits per sample.
    has_colour_marker : bool
        Whether a JPEG has a JFIF or Adobe marker, which defines its colours.
    """

    rows: int
    columns: int
    components: int
    precision: int
    has_colour_marker: bool = False
