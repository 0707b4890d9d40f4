"""Step 6b of the flow: films on disk as lossless PNG, with their version and decoder in text chunks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

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
    notes = PngImagePlugin.PngInfo()
    notes.add_text(_VERSION_KEY, str(film.version))
    notes.add_text(_DECODER_KEY, film.decoder)
    picture = io.BytesIO()
    # films are small and many: the fastest level takes a tenth more space and saves most of the time
    Image.fromarray(np.ascontiguousarray(film.pixels)).save(picture, "PNG", pnginfo=notes, compress_level=1)
    write_whole(path, [picture.getbuffer()], tmp)


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
            picture.load()
            version, decoder = int(picture.info[_VERSION_KEY]), str(picture.info.get(_DECODER_KEY, ""))
            return Film(np.asarray(picture), version, decoder)
    except (KeyError, *PICTURE_ERRORS):
        raise FilmError(Reason.UNREADABLE) from None
