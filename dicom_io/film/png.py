"""Step 6b of the flow: films on disk as lossless PNG, with their version and decoder in text chunks.

Each row is written as its difference from the row above, in runs: on films of radiographs that takes a quarter of the
time of Pillow's fastest level and a tenth less space, and it is read in half the time (`python3 dev.py bench film`).
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from PIL import Image

from dicom_io.durable import write_whole
from dicom_io.errors import FilmError
from dicom_io.film.film import Film
from dicom_io.film.picture_file import PICTURE_ERRORS
from dicom_io.quiet import quiet_libraries
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path

_VERSION_KEY = "auscult-film-version"
_DECODER_KEY = "auscult-decoder"
#: The length of the signature and the first chunk, which nothing may come before (ISO/IEC 15948, 5.6).
_HEADER_BYTES = 33
#: What libpng and Pillow raise for damaged files; never shown.
_DAMAGED = (KeyError, RuntimeError, *PICTURE_ERRORS)


def write_png(film: Film, path: Path, tmp: Path | None = None) -> None:
    """Write a film without loss: a reader sees the whole file or none, and only the owner may read it.

    Parameters
    ----------
    film : Film
        The film.
    path : pathlib.Path
        The file to make or replace; its folder must be there.
    tmp : pathlib.Path, optional
        Folder of its temporary name, as `dicom_io.durable.write_whole`.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind then.
    """
    coding = imagecodecs.PNG
    picture = imagecodecs.png_encode(
        np.ascontiguousarray(film.pixels),
        level=coding.COMPRESSION.SPEED,
        strategy=coding.STRATEGY.RLE,
        filter=coding.FILTER.UP,
    )
    notes = _note(_VERSION_KEY, str(film.version)) + _note(_DECODER_KEY, film.decoder)
    write_whole(path, [memoryview(picture)[:_HEADER_BYTES], notes, memoryview(picture)[_HEADER_BYTES:]], tmp)


def _note(key: str, text: str) -> bytes:
    """A tEXt chunk."""
    chunk = b"tEXt" + key.encode("latin-1") + b"\0" + text.encode("latin-1")
    return struct.pack(">L", len(chunk) - 4) + chunk + struct.pack(">L", zlib.crc32(chunk))


def read_png(path: Path) -> Film:
    """Read a film that ``write_png`` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Film
        The film, with the version of the code that made it and the name of the decoder.

    Raises
    ------
    FilmError
        UNREADABLE if the file is damaged or not a film.
    OSError
        If the file cannot be read.
    """
    quiet_libraries()
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if picture.mode != "L":
                raise FilmError(Reason.UNREADABLE)
            version, decoder = int(picture.info[_VERSION_KEY]), str(picture.info.get(_DECODER_KEY, ""))
        # libpng takes half the time of Pillow
        return Film(imagecodecs.png_decode(data), version, decoder)
    except _DAMAGED:
        raise FilmError(Reason.UNREADABLE) from None
