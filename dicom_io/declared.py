"""What a code stream says of its own size and depth."""

from __future__ import annotations

from dataclasses import dataclass


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
