"""What a result object repeats of its film's header: who the patient is, which study, and in which character set.

The values are read tolerantly, as every header is, and written cleanly: a value that its attribute may not have is left
empty. The character set is the one that the film declares, where it can say every value, else UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from dicom_io.header.elements import Elements
from dicom_io.header.part10 import PIXEL_TAGS, UID_TAGS, parse, read_preface
from dicom_io.quiet import quiet_libraries

if TYPE_CHECKING:
    from pathlib import Path

UTF_8 = "ISO_IR 192"
#: A header has no other text of a result object's; the longest value each may have (PS3.5 6.2).
_TEXTS = {
    "AccessionNumber": (0x00080050, 16),
    "ReferringPhysicianName": (0x00080090, 320),
    "StudyDescription": (0x00081030, 64),
    "PatientName": (0x00100010, 320),
    "PatientID": (0x00100020, 64),
    "IssuerOfPatientID": (0x00100021, 64),
    "StudyID": (0x00200010, 16),
}
#: Of the equipment that took the film.
_EQUIPMENT = {
    "Manufacturer": (0x00080070, 64),
    "InstitutionName": (0x00080080, 64),
    "StationName": (0x00081010, 16),
    "ManufacturerModelName": (0x00081090, 64),
}
_FORMS = {
    "StudyDate": (0x00080020, re.compile(r"\d{8}")),
    "StudyTime": (0x00080030, re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")),
    "TimezoneOffsetFromUTC": (0x00080201, re.compile(r"[+-]\d{4}")),
    "PatientBirthDate": (0x00100030, re.compile(r"\d{8}")),
    "PatientSex": (0x00100040, re.compile(r"[MFO]")),
    "PatientAge": (0x00101010, re.compile(r"\d{3}[DWMY]")),
    "LossyImageCompression": (0x00282110, re.compile(r"0[01]")),
}
#: Present even where the film does not say them (type 2 of PS3.3 C.7.1.1 and C.7.2.1).
_ALWAYS = frozenset(
    {
        *("AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "StudyID"),
        *("StudyDate", "StudyTime", "PatientBirthDate", "PatientSex"),
    }
)
_ACCESSION_ISSUER = 0x00080051
_ISSUER_PARTS = {
    "LocalNamespaceEntityID": 0x00400031,
    "UniversalEntityID": 0x00400032,
    "UniversalEntityIDType": 0x00400033,
}
_CHARACTER_SET = 0x00080005
_WANTED = UID_TAGS | {
    *(tag for tag, _ in (*_TEXTS.values(), *_EQUIPMENT.values(), *_FORMS.values())),
    *(_ACCESSION_ISSUER, _CHARACTER_SET),
}


@dataclass(frozen=True, slots=True, eq=False)
class SourceHeader:
    """What is repeated of a film.

    Attributes
    ----------
    patient_and_study : pydicom.dataset.Dataset
        The elements of the patient and of the study, with Specific Character Set where the film has one or needs one.
    equipment : dict of str to str
        Manufacturer, ManufacturerModelName, StationName and InstitutionName of the equipment that took it.
    timezone : str
        Timezone Offset From UTC (0008,0201), "" where the film has none.
    is_lossy : bool
        Whether the film was compressed with loss at any time (0028,2110).
    """

    patient_and_study: Dataset
    equipment: dict[str, str]
    timezone: str
    is_lossy: bool


def read_source_header(path: Path) -> SourceHeader:
    """Read the header of a film's original.

    Parameters
    ----------
    path : pathlib.Path
        A DICOM file, in any transfer syntax.

    Raises
    ------
    NotDicom, HeaderUnreadable, OSError
        As `dicom_io.header.reader.read_facts`.
    """
    with path.open("rb") as fp:
        syntax = read_preface(fp).transfer_syntax_uid
        ds = parse(fp, syntax, stop_when=lambda tag, _vr, _n: tag in PIXEL_TAGS, wanted=_WANTED, enough=UID_TAGS)
    return source_header_of(ds)


def source_header_of(ds: Dataset) -> SourceHeader:
    """What is repeated of a data set."""
    quiet_libraries()
    elements = Elements(ds)
    texts = {name: elements.text(tag, limit) for name, (tag, limit) in _TEXTS.items()}
    equipment = {name: elements.text(tag, limit) for name, (tag, limit) in _EQUIPMENT.items()}
    formed = {name: _formed(elements.plain(tag), form) for name, (tag, form) in _FORMS.items()}
    made = Dataset()
    charset = _charset(elements.plain(_CHARACTER_SET), [*texts.values(), *equipment.values()])
    if charset:
        made.SpecificCharacterSet = charset
    for name in (*_TEXTS, "StudyDate", "StudyTime", "PatientBirthDate", "PatientSex", "PatientAge"):
        value = texts.get(name) or formed.get(name, "")
        if value or name in _ALWAYS:
            setattr(made, name, value)
    if formed["TimezoneOffsetFromUTC"]:
        made.TimezoneOffsetFromUTC = formed["TimezoneOffsetFromUTC"]
    _add_issuer(made, elements)
    return SourceHeader(
        made,
        {name: value for name, value in equipment.items() if value},
        formed["TimezoneOffsetFromUTC"],
        is_lossy=formed["LossyImageCompression"] == "01",
    )


def _formed(value: str, form: re.Pattern[str]) -> str:
    first = value.partition("\\")[0].strip()
    return first if form.fullmatch(first) else ""


def _add_issuer(made: Dataset, elements: Elements) -> None:
    """Repeat who issued the accession number (PS3.3 C.7.2.1), where that is said in ASCII."""
    for item in list(elements.items(_ACCESSION_ISSUER))[:1]:
        issuer = Dataset()
        for name, tag in _ISSUER_PARTS.items():
            value = item.plain(tag)
            if value and value.isascii():
                setattr(issuer, name, value)
        if issuer:
            made.IssuerOfAccessionNumberSequence = [issuer]


def _charset(declared: str, values: list[str]) -> list[str] | str | None:
    """The declared character set if it can say every value, else UTF-8; None where nothing needs one."""
    terms = [term.strip() for term in declared.split("\\")] if declared.strip() else []
    if all(value.isascii() for value in values) and not terms:
        return None
    if terms and all(_can_say(terms, value) for value in values):
        return terms if len(terms) > 1 else terms[0]
    return UTF_8


def _can_say(terms: list[str], value: str) -> bool:
    """Whether a value survives being written in a character set and read again."""
    try:
        encodings = convert_encodings(list(terms))
        as_name = PersonName(PersonName(value).encode(encodings), encodings)
        as_text = decode_bytes(encode_string(value, encodings), encodings, set())
    except (ValueError, LookupError):
        return False
    return str(as_name) == value == as_text
