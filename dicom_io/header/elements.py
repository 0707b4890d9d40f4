"""Tolerant reading of single elements: any content gives a clean value or an empty one.

pydicom's own conversions warn, raise, and sometimes quote the value. Here every value is read from the bytes of its
element; ``charsets`` decodes free text.
"""

from __future__ import annotations

import math
import re
import struct
from datetime import date
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from dicom_io.clean import clean_text
from dicom_io.header.charsets import CharacterSets, declared_sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_DATE = re.compile(r"\s*(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})", re.ASCII)
_CODE = re.compile(r"[A-Z0-9 _]{1,16}", re.ASCII)
#: The bytes read of a text: no column holds more, in any character set.
_TEXT_BYTES = 8192
#: The bytes read of a code, UID, date or the like.
_PLAIN_BYTES = 1024
#: A number as text (DS has up to 16 characters) and the backslash after it.
_NUMBER_BYTES = 17
_TEXT_DELIMITERS = b"\r\n\t\f\\"
_NAME_DELIMITERS = b"^=\\\r\n\t\f"
_PATIENT_NAME = 0x00100010
#: The most items of one sequence, with nested ones: pydicom makes a data set of some kilobytes of each, recursively.
MAX_ITEMS = 1000
_ITEM_TAGS = {True: b"\xfe\xff\x00\xe0", False: b"\xff\xfe\xe0\x00"}
_BINARY_INTEGERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l"}
_UNDEFINED_LENGTH = 0xFFFFFFFF
# What pydicom raises when it converts a damaged element; the texts of these errors are never shown.
CONVERSION_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    ArithmeticError,
    OSError,
    EOFError,
    RecursionError,
    struct.error,
    # these two are subclasses of none of the above
    BytesLengthException,
    InvalidDicomError,
)


def valid_uid(text: str) -> bool:
    """Whether a text is a UID we accept.

    Parameters
    ----------
    text : str
        The UID without padding.

    Returns
    -------
    bool
        True for 1 to 64 characters: components of digits, separated by single dots (PS3.5 9.1). The standard forbids
        leading zeros in a component, but they are common and harmless, so they are accepted.
    """
    return 0 < len(text) <= 64 and _UID.fullmatch(text) is not None


class Elements:
    """A data set that is read without trust: no content makes a method fail, and an absent value is "", None or 0.

    Parameters
    ----------
    ds : pydicom.dataset.Dataset
        The data set: undecoded values from a file, or Python values of a data set made in memory.
    inherited : CharacterSets, optional
        The character sets of the data set around this item (PS3.5 7.5.3).
    """

    def __init__(self, ds: Dataset, inherited: CharacterSets | None = None) -> None:
        self._ds = ds
        # Not asked of the data set each time: pydicom makes a tag of each number.
        self._by_tag = {int(tag): element for tag, element in ds.items()}
        declared = self.plain(0x00080005) if self._element(0x00080005) is not None else None
        self._sets = inherited if inherited and declared is None else declared_sets(declared or "")

    @property
    def dataset(self) -> Dataset:
        """The data set, for library functions that take one."""
        return self._ds

    def has(self, tag: int) -> bool:
        """Whether the element is present and has a value."""
        element = self._element(tag)
        return element is not None and element.value not in (None, b"", "", [])

    def text(self, tag: int, limit: int) -> str:
        """Free text (LO, SH, PN, ...) in Unicode, cleaned and cut to ``limit`` characters."""
        value = self._value(tag)
        if isinstance(value, bytes):
            delimiters = _NAME_DELIMITERS if tag == _PATIENT_NAME else _TEXT_DELIMITERS
            value = self._sets.decode(value[:_TEXT_BYTES].rstrip(b" \0"), delimiters)
        return clean_text(_joined(value)[:_TEXT_BYTES], limit)

    def code(self, tag: int) -> str:
        """The first value of a code string (CS) in capitals; "" if it has characters that a CS may not have."""
        first = self.plain(tag).partition("\\")[0].strip().upper()
        return first if _CODE.fullmatch(first) else ""

    def uid(self, tag: int) -> str:
        """A valid UID, else ""."""
        uid = self.plain(tag)
        return uid if valid_uid(uid) else ""

    def plain(self, tag: int) -> str:
        """The value as Latin-1 without padding, for value representations that are ASCII by the standard."""
        return self._plain(tag, _PLAIN_BYTES)

    def date(self, tag: int) -> date | None:
        """A date (DA, or the date of a DT); None when it is missing or impossible."""
        match = _DATE.match(self.plain(tag))
        if match is None:
            return None
        try:
            return date(*(int(part) for part in match.groups()))
        except ValueError:
            return None

    def integers(self, tag: int, most: int) -> list[int]:
        """Whole numbers, binary (US, SS, UL, SL) or text (IS, DS); values that are not numbers are left out.

        An element with more than ``most`` numbers gives an empty list, so that the work per header is bounded.
        """
        numbers = self._integers(tag, most + 1)
        return numbers if len(numbers) <= most else []

    def first_integer(self, tag: int) -> int | None:
        """The first whole number, None when there is none."""
        return next(iter(self._integers(tag, 1)), None)

    def integer(self, tag: int, default: int = 0) -> int:
        """The first whole number, ``default`` when there is none."""
        first = self.first_integer(tag)
        return default if first is None else first

    def numbers(self, tag: int) -> list[float]:
        """Finite numbers of a text element (DS, IS) or of a data set made in memory."""
        return [number for number in self.numbers_by_place(tag) if number is not None]

    def numbers_by_place(self, tag: int) -> list[float | None]:
        """As ``numbers``, with None in the place of each value that is not a finite number."""
        return [next(_finite(part), None) for part in self.plain(tag).split("\\")]

    def items(self, tag: int, most: int = MAX_ITEMS) -> Iterator[Elements]:
        """The items of a sequence; none if the element is not a sequence or has more than ``most`` items."""
        element = self._element(tag)
        if isinstance(element, RawDataElement):
            starts = _ITEM_TAGS[element.is_little_endian]
            if isinstance(element.value, bytes) and element.value.count(starts) > most:
                return
            try:
                element = self._ds[tag]
            except CONVERSION_ERRORS:
                return
        if element is not None and isinstance(element.value, Sequence):
            for item in element.value:
                yield Elements(item, self._sets)

    def raw(self, tag: int) -> object:
        """The value without conversion: bytes from a file, a Python value in memory, None when absent."""
        return self._value(tag)

    def is_little_endian(self, tag: int) -> bool:
        """The byte order of the element's bytes."""
        element = self._element(tag)
        return element.is_little_endian if isinstance(element, RawDataElement) else True

    def is_undefined_length(self, tag: int) -> bool:
        """Whether the element has an undefined length, as a sequence or pixel data in fragments may have."""
        element = self._element(tag)
        return isinstance(element, RawDataElement) and element.length == _UNDEFINED_LENGTH

    def is_word(self, tag: int) -> bool:
        """Whether the element's bytes are coded as 16-bit words (OW)."""
        element = self._element(tag)
        return element is not None and element.VR == "OW"

    def _integers(self, tag: int, count: int) -> list[int]:
        """The first ``count`` whole numbers."""
        element = self._element(tag)
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            packed = _unpacked(element, count)
            if packed is not None:
                return packed
        parts = self._plain(tag, max(_PLAIN_BYTES, count * _NUMBER_BYTES)).split("\\")
        numbers = [int(number) for part in parts for number in _finite(part) if abs(number) < 2**53]
        return numbers[:count]

    def _plain(self, tag: int, limit: int) -> str:
        value = self._value(tag)
        if isinstance(value, bytes):
            value = value[:limit].decode("latin-1")
        return _joined(value).strip(" \0\r\n\t")

    def _element(self, tag: int) -> DataElement | RawDataElement | None:
        return self._by_tag.get(tag)

    def _value(self, tag: int) -> object:
        element = self._element(tag)
        # a sequence in the place of a text gives nothing
        return None if element is None or element.VR == "SQ" else element.value


def _joined(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list | tuple):
        return "\\".join(str(part) for part in value)
    return str(value)


def _finite(part: str) -> Iterator[float]:
    text = part.strip(" \0").replace(",", ".")
    try:
        number = float(text)
    except ValueError:
        return
    # float() accepts "1_000" too, but no DICOM number has an underscore
    if math.isfinite(number) and "_" not in text:
        yield number


def _unpacked(element: RawDataElement, most: int) -> list[int] | None:
    """The first ``most`` whole numbers of a binary element; None when the element is text."""
    form = _BINARY_INTEGERS.get(_vr_of(element))
    if form is None:
        return None
    value = element.value or b""
    count = min(len(value) // struct.calcsize("=" + form), most)
    order = "<" if element.is_little_endian else ">"
    return list(struct.unpack_from(f"{order}{count}{form}", value))


def _vr_of(element: RawDataElement) -> str:
    """The value representation; in an implicit data set that of the dictionary ("US or SS" is read as US)."""
    if element.VR in (None, "UN", "OW", "OB"):
        return dictionary_VR(element.tag)[:2] if dictionary_has_tag(element.tag) else ""
    return str(element.VR)
