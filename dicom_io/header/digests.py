"""Step 3 of the flow: the hashes by which the bytes of an object are recognised, computed in pieces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.header.part10 import read_preface

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_HASH_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of a file's data set.

    Attributes
    ----------
    dataset : str
        Of the data set without preamble and group 0002, as ``dataset_sha256`` returns it.
    pixels : str
        Of the value of the pixel data alone, and of what follows it if it is encapsulated. "" without pixel data, and
        if the data set is deflated.
    film_header : str
        Of what a film depends on besides its pixels, as ``film_header_sha256`` returns it; "" where that is not known.
    """

    dataset: str
    pixels: str
    film_header: str = ""


def dataset_sha256(path: Path) -> str:
    """Compute the SHA-256 of the data set of a file, without preamble and group 0002.

    An object has the same hash whether it was received or read from a folder. The file is read in pieces.

    Parameters
    ----------
    path : pathlib.Path
        A DICOM file or a bare data set.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    NotDicom
        If the file is neither of these.
    OSError
        If the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as fp:
        fp.seek(read_preface(fp).offset)
        while chunk := fp.read(_HASH_STEP):
            digest.update(chunk)
    return digest.hexdigest()


def digests_at(fp: BinaryIO, pixels_at: int | None, pixels_length: int) -> Digests:
    """Hash a data set and the value of its pixel data in one pass.

    Parameters
    ----------
    fp : file-like
        A binary file at the start of the data set; it is read to its end.
    pixels_at : int or None
        Where the value of the pixel data begins, in bytes from the start of the file; None if that is unknown.
    pixels_length : int
        Its largest possible length in bytes.

    Returns
    -------
    Digests
        Both hashes.
    """
    whole, picture = hashlib.sha256(), hashlib.sha256()
    at, left = fp.tell(), pixels_length if pixels_at is not None else 0
    while chunk := fp.read(_HASH_STEP):
        whole.update(chunk)
        if pixels_at is not None and left and at + len(chunk) > pixels_at:
            part = memoryview(chunk)[max(0, pixels_at - at) :][:left]
            picture.update(part)
            left -= len(part)
        at += len(chunk)
    return Digests(whole.hexdigest(), picture.hexdigest() if pixels_at is not None and pixels_length else "")
