"""What the first bytes of a data set say while the rest is still on its way: whose object it is, and where its pixels begin."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io.errors import HeaderUnreadable
from dicom_io.header.part10 import PIXEL_TAGS, UID_TAGS, UNDEFINED_LENGTH, data_set_offset, parse
from dicom_io.header.reader import identity_of

if TYPE_CHECKING:
    from dicom_io.header.facts import Identity

#: So much is looked at; the header of a radiograph is a few kilobytes.
BEGINNING_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Beginning:
    """The part of a data set before its pixels.

    Attributes
    ----------
    identity : Identity
        As `dicom_io.header.reader.identify` returns it for the whole data set.
    pixels_at : int or None
        Where the value of the pixel data begins, in bytes from the start of the data set; None if it is deflated.
    pixels_length : int
        Its length in bytes; ``sys.maxsize`` if it is encapsulated.
    """

    identity: Identity
    pixels_at: int | None
    pixels_length: int


def read_beginning(data: bytes | bytearray, transfer_syntax_uid: str) -> Beginning | None:
    """Read the beginning of a data set.

    Parameters
    ----------
    data : bytes-like
        The first bytes; `BEGINNING_BYTES` suffice for nearly all objects.
    transfer_syntax_uid : str
        Of the presentation context.

    Returns
    -------
    Beginning or None
        None where these bytes do not suffice: no pixel data begins in them, something else comes before the data set, or
        they cannot be parsed. Then the whole has to be looked at.
    """
    data = bytes(data[:BEGINNING_BYTES])
    watch = _Watch(io.BytesIO(data))
    try:
        if data_set_offset(data, transfer_syntax_uid):
            return None
        ds = parse(watch.fp, transfer_syntax_uid, stop_when=watch, wanted=UID_TAGS)
    except HeaderUnreadable:
        return None
    if not watch.has_ended:
        return None
    # A position in the inflated data set is not one in the received bytes.
    is_deflated = transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    return Beginning(identity_of(ds), None if is_deflated else watch.at, watch.length)


class _Watch:
    """Stop condition of the parse: ends it at the pixel data, and keeps where they begin."""

    def __init__(self, fp: io.BytesIO) -> None:
        self.fp = fp
        self.has_ended = False
        self.at = self.length = 0

    def __call__(self, tag: int, _vr: str | None, length: int) -> bool:
        if tag not in PIXEL_TAGS:
            return False
        self.has_ended = True
        self.at, self.length = self.fp.tell(), sys.maxsize if length == UNDEFINED_LENGTH else length
        return True
