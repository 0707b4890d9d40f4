"""Step 6b of the flow: films on disk as lossless PNG, with their version and decoder in text chunks.

Each row is written as its difference from the row above and packed by libdeflate at its fastest level: that takes half
of libpng's time at its fastest strategy and about the same space (`python3 dev.py bench film`). libpng reads it.
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
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Filter type 2 (ISO/IEC 15948, 9.2): a row is its difference from the row above; above the first row all is 0.
_UP = 2
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
    write_whole(path, [encode_png(film)], tmp)


def encode_png(film: Film) -> bytes:
    """Return the film as a PNG file."""
    rows, columns = film.pixels.shape
    lines = np.empty((rows, columns + 1), np.uint8)
    lines[:, 0] = _UP
    lines[0, 1:] = film.pixels[0]
    np.subtract(film.pixels[1:], film.pixels[:-1], out=lines[1:, 1:])
    # 8 bits, grey, one method each for compression, filters and interlacing
    header = struct.pack(">LLBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"tEXt", _note(_VERSION_KEY, str(film.version))),
        (b"tEXt", _note(_DECODER_KEY, film.decoder)),
        (b"IDAT", imagecodecs.deflate_encode(lines.tobytes(), level=1)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _note(key: str, text: str) -> bytes:
    """The data of a tEXt chunk."""
    return key.encode("latin-1") + b"\0" + text.encode("latin-1")


def _chunk(kind: bytes, data: bytes | bytearray) -> bytes:
    return b"".join((struct.pack(">L", len(data)), kind, data, struct.pack(">L", zlib.crc32(data, zlib.crc32(kind)))))


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
