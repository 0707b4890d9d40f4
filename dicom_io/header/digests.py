"""Step 3 of the flow: the hashes by which the bytes of an object are recognised, computed in pieces.

`film_header_sha256` covers all elements before the pixel data but those that name patient, visit, order and people, which no
rule of the gate and no step to the film reads. Two objects with equal hashes of it, equal pixels and equal facts for the
gate give the same film and the same answer; whatever is not known to be without effect makes a difference.
"""

from __future__ import annotations

import hashlib
import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.errors import HeaderUnreadable
from dicom_io.header.part10 import PIXEL_TAGS, read_preface, uncompressed_syntax_of
from dicom_io.header.walker import Walker, plain_elements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_HASH_STEP = 1 << 20
#: How digests of pixels begin, and their length in bytes: with its name one is as long as a SHA-256, which rows of before have.
#: They only say whether two objects have the same pixels, and SHA-256 takes three times as long.
BLAKE3, _BLAKE3_BYTES = "blake3:", 28


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of a file's data set.

    Attributes
    ----------
    dataset : str
        SHA-256 of the data set without preamble and group 0002, as ``dataset_sha256`` returns it.
    pixels : str
        Of the value of the pixel data alone, and of what follows it if it is encapsulated: ``blake3:`` and 56 hexadecimal
        digits of its BLAKE3. "" without pixel data, and if the data set is deflated.
    film_header : str
        SHA-256 of what a film depends on besides its pixels, as ``film_header_sha256`` returns it; "" where that is not known.
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
    running = RunningDigests(None if pixels_at is None else pixels_at - fp.tell(), pixels_length)
    while chunk := fp.read(_HASH_STEP):
        running.update(chunk)
    found = running.result()
    return Digests(found.dataset, found.pixels)


@dataclass(frozen=True, slots=True)
class ReceivedDigests:
    """The digests of a data set that were computed while it was received, with the places that they are true for.

    Attributes
    ----------
    dataset, pixels : str
        As in `Digests`.
    size : int
        Length of the data set in bytes.
    pixels_at : int or None
        Where the value of the pixel data begins, in bytes from the start of the data set; None if it is deflated.
    pixels_length : int
        Its length as the header states it; ``sys.maxsize`` if it is encapsulated.
    """

    dataset: str
    pixels: str
    size: int
    pixels_at: int | None
    pixels_length: int

    def of_file(self, size: int, offset: int, pixels_at: int | None, pixels_length: int) -> Digests | None:
        """Return the digests for the file of the data set, None where they do not fit what its header says.

        Parameters
        ----------
        size, offset : int
            Length of the file, and where its data set begins.
        pixels_at, pixels_length
            As for `digests_at`.
        """
        at = None if pixels_at is None else pixels_at - offset
        is_same_place = at == self.pixels_at and (at is None or pixels_length == self.pixels_length)
        return Digests(self.dataset, self.pixels) if is_same_place and size - offset == self.size else None


class RunningDigests:
    """Computes `ReceivedDigests` while the bytes of a data set arrive; each byte is hashed when it is seen.

    Parameters
    ----------
    pixels_at, pixels_length
        As in `ReceivedDigests`.
    """

    def __init__(self, pixels_at: int | None, pixels_length: int) -> None:
        self._whole, self._picture = hashlib.sha256(), blake3()
        self._size = 0
        self._pixels_at, self._pixels_length = pixels_at, pixels_length
        self._left = pixels_length if pixels_at is not None else 0

    def update(self, part: bytes | memoryview | bytearray) -> None:
        """Hash the next bytes."""
        self._whole.update(part)
        if self._left and self._pixels_at is not None and self._size + len(part) > self._pixels_at:
            picture = memoryview(part)[max(0, self._pixels_at - self._size) :][: self._left]
            self._picture.update(picture)
            self._left -= len(picture)
        self._size += len(part)

    def result(self) -> ReceivedDigests:
        """Return the digests of what was hashed so far."""
        has_pixels = self._pixels_at is not None and self._pixels_length
        return ReceivedDigests(
            self._whole.hexdigest(),
            BLAKE3 + self._picture.hexdigest(length=_BLAKE3_BYTES) if has_pixels else "",
            self._size,
            self._pixels_at,
            self._pixels_length,
        )


def sha256_of_pixels(fp: BinaryIO, pixels_at: int | None, pixels_length: int) -> str:
    """Hash what `Digests.pixels` covers as it was hashed before: 64 hexadecimal digits; "" where that is not known.

    Parameters
    ----------
    fp : file-like
        The file; its position changes.
    pixels_at, pixels_length
        As for `digests_at`.
    """
    if pixels_at is None or not pixels_length:
        return ""
    fp.seek(pixels_at)
    digest = hashlib.sha256()
    while pixels_length and (chunk := fp.read(min(_HASH_STEP, pixels_length))):
        digest.update(chunk)
        pixels_length -= len(chunk)
    return digest.hexdigest()


#: Counts up when other elements are left out.
_VERSION = b"1\n"
#: Longer headers, and those with more elements, have no digest: their films are judged whenever they come.
_MAX_BYTES, _MAX_ELEMENTS = 1 << 20, 10_000
#: Patient, visit, and order. What the gate reads of the first is a fact of the image: age and species.
LEFT_OUT_GROUPS = frozenset({0x0010, 0x0032, 0x0038})
LEFT_OUT = frozenset(
    {
        0x00080005,  # Specific Character Set: another name may need another one
        0x00080015,  # Instance Coercion DateTime
        0x00080020,  # Study Date; the age that follows from it is a fact of the image
        0x00080030,  # Study Time
        0x00080050,  # Accession Number
        0x00080051,  # Issuer of Accession Number Sequence
        0x00080080,  # Institution Name
        0x00080081,  # Institution Address
        0x00080090,  # Referring Physician's Name
        0x00080096,  # Referring Physician Identification Sequence
        0x00081030,  # Study Description; the body part that follows from it is a fact of the image
        0x00081040,  # Institutional Department Name
        0x00081048,  # Physician(s) of Record
        0x00081050,  # Performing Physician's Name
        0x00081060,  # Name of Physician(s) Reading Study
        0x00081070,  # Operators' Name
        0x00081080,  # Admitting Diagnoses Description
        0x00081110,  # Referenced Study Sequence
        0x00081111,  # Referenced Performed Procedure Step Sequence
        0x00081120,  # Referenced Patient Sequence
        0x00200010,  # Study ID
        0x00400241,  # Performed Station AE Title
        0x00400244,  # Performed Procedure Step Start Date
        0x00400245,  # Performed Procedure Step Start Time
        0x00400253,  # Performed Procedure Step ID
        0x00400254,  # Performed Procedure Step Description
        0x00400275,  # Request Attributes Sequence
        0x04000561,  # Original Attributes Sequence: what the archive coerced
    }
)


def film_header_sha256(fp: BinaryIO, offset: int, pixels_at: int | None, pixels_length: int) -> str:
    """Hash what a film depends on of the header of an object that is not deflated.

    Parameters
    ----------
    fp : file-like
        The file; its position changes.
    offset : int
        Where the data set begins, in bytes from the start of the file.
    pixels_at : int or None
        Where the value of the pixel data begins; None if that is unknown.
    pixels_length : int
        Its length in bytes; ``sys.maxsize`` if it is encapsulated.

    Returns
    -------
    str
        64 hexadecimal digits; "" where the pixels are not known or the header is too long or damaged.
    """
    if pixels_at is None or not 0 < pixels_at - offset <= _MAX_BYTES:
        return ""
    fp.seek(offset)
    data = fp.read(pixels_at - offset)
    syntax = uncompressed_syntax_of(io.BytesIO(data))
    digest = hashlib.sha256(_VERSION + syntax.encode())
    kept_from = begin = 0
    try:
        for count, (tag, end) in enumerate(_ends(data, syntax)):
            if count >= _MAX_ELEMENTS or end > len(data):
                return ""
            if _is_left_out(tag):
                digest.update(data[kept_from:begin])
                kept_from = end
            begin = end
    except HeaderUnreadable:
        return ""
    # To the head of the pixel data: representation and length.
    digest.update(data[kept_from:])
    if pixels_length < sys.maxsize:
        # What follows encapsulated pixels is part of their own hash.
        fp.seek(pixels_at + pixels_length)
        tail = fp.read(_MAX_BYTES + 1)
        digest.update(tail)
        if len(tail) > _MAX_BYTES:
            return ""
    return digest.hexdigest()


def _ends(data: bytes, syntax: str) -> Iterator[tuple[int, int]]:
    """The elements before the pixel data: each tag, and where the element ends."""
    at = 0
    if syntax == ExplicitVRLittleEndian:
        for tag, _, _, at in plain_elements(data):
            yield tag, at
    rest = io.BytesIO(data)
    rest.seek(at)
    is_implicit, is_little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    walker = Walker(rest, is_implicit=is_implicit, is_little=is_little)
    for head in walker.heads():
        if head.tag in PIXEL_TAGS:
            return
        walker.skip(head)
        yield head.tag, rest.tell()


def _is_left_out(tag: int) -> bool:
    """Whether an element has no effect; the length of a group changes with the elements that are left out."""
    return tag in LEFT_OUT or tag >> 16 in LEFT_OUT_GROUPS or tag & 0xFFFF == 0
