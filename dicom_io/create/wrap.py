"""Wrapping of a JPEG or PNG picture as a DICOM object, so that it can be handled like any film."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from dicom_io.create.radiograph import radiograph, uid_from
from dicom_io.film.film import grey_of_picture

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = ["wrap_picture", "wrapped_file"]


def wrap_picture(path: Path, *, body_part: str = "CHEST") -> Dataset:
    """Wrap a picture as an 8-bit MONOCHROME2 DX For Presentation object.

    The object depends on the content of the file alone: the same picture gives the same object under any file name.
    The name is not used, because it may be the name of a patient. Age, view and dates are unknown and left empty.

    Parameters
    ----------
    path : pathlib.Path
        A JPEG or PNG picture.
    body_part : str
        The value of BodyPartExamined.

    Returns
    -------
    pydicom.dataset.Dataset
        With file meta information, Explicit VR Little Endian.

    Raises
    ------
    FilmError
        NOT_DICOM, TOO_LARGE, MULTI_FRAME or DECODE_FAILED if it is not a readable picture.
    OSError
        If the file cannot be read.
    """
    pixels = grey_of_picture(path)
    digest = hashlib.sha256(path.read_bytes())
    study, series, sop = (
        uid_from(hashlib.sha256(digest.digest() + level).digest()) for level in (b"study", b"series", b"sop")
    )
    ds = radiograph(pixels, 8, (study, series, sop))
    ds.PatientID = f"PICTURE-{digest.hexdigest()[:12]}"
    ds.StudyDescription = "Picture wrapped as DICOM"
    ds.BodyPartExamined = body_part
    return ds


def wrapped_file(path: Path) -> memoryview:
    """Return a picture as the bytes of a DICOM file; raises the errors of ``wrap_picture``."""
    stream = io.BytesIO()
    wrap_picture(path).save_as(stream, enforce_file_format=True)
    return stream.getbuffer()
