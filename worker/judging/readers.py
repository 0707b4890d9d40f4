"""Films of files that are not registered: pictures and DICOM files, by the same functions that a worker uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.errors import FilmError
from dicom_io.film.film import Film, film_of_dicom, film_of_picture
from dicom_io.film.picture_file import is_picture, size_of_picture
from dicom_io.header.reader import read_facts
from model.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def film_of_file(path: Path) -> Film:
    """The film of a JPEG, PNG or DICOM file; raises FilmError with the coded reason, or OSError."""
    return film_of_picture(path) if is_picture(path) else film_of_dicom(path)


def read_labelled(path: Path) -> NDArray[np.uint8]:
    """Pixels of a labelled film, for the functions of ``model`` that take a reader; raises DataError that names the file."""
    try:
        return film_of_file(path).pixels
    except FilmError as error:
        msg = f"{path} cannot be read as a film: {error}"
        raise DataError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read"
        raise DataError(msg) from error


def size_of_file(path: Path) -> tuple[int, int]:
    """Rows and columns of the upright original of a readable film; 0 where the header does not name them."""
    if is_picture(path):
        return size_of_picture(path)
    facts = read_facts(path)
    return facts.rows, facts.columns
